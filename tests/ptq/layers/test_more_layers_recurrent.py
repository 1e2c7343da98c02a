"""Recurrent layers and cells against their equations in float64, in memory and saved."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, converted, data, quietly, relative
from paddle import nn
from reloading import reload_gap, saved_bytes, tensors

from ptq import ImperativePTQ, PTQConfig, PTQRegistry
from ptq.layers import QuantizedGRUCell, QuantizedLayer, QuantizedLSTM, QuantizedLSTMCell, QuantizedSimpleRNN
from quantizers import AbsmaxQuantizer, AutoQuantizer
from quantizers.errors import ModelError, TraceError

LAYERS = [nn.SimpleRNN, nn.LSTM, nn.GRU]
CELLS = [nn.SimpleRNNCell, nn.LSTMCell, nn.GRUCell]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _step(kind: str, x: np.ndarray, h: np.ndarray, c: np.ndarray, parameters: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One step of a cell, in float64: the new state and the new memory."""
    w_ih, w_hh, b_ih, b_hh = parameters
    a, b = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if "LSTM" in kind:
        i, f, g, o = np.split(a + b, 4, axis=-1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c
    if "GRU" in kind:
        (xr, xz, xc), (hr, hz, hc) = np.split(a, 3, axis=-1), np.split(b, 3, axis=-1)
        z, candidate = _sigmoid(xz + hz), np.tanh(xc + _sigmoid(xr + hr) * hc)
        return z * h + (1 - z) * candidate, c
    return np.tanh(a + b), c


def _on_grid(x: np.ndarray, scale: float) -> np.ndarray:
    """Symmetric int8, from float32 numbers."""
    return np.clip(np.rint(x.astype(np.float32) / np.float32(scale)), -128, 127).astype(np.float64) * scale


def _parameters(layer: nn.Layer, suffix: str = "") -> list[np.ndarray]:
    """Weights of a float layer on grids of their own rows, and biases, in float64."""
    found = []
    for name in ("weight_ih", "weight_hh"):
        weight = getattr(layer, name + suffix).numpy().astype(np.float64)
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        found.append(np.rint(weight / scale) * scale)
    return [*found, *(getattr(layer, name + suffix).numpy().astype(np.float64) for name in ("bias_ih", "bias_hh"))]


def _run(layer: nn.Layer, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """All outputs of a float layer with quantized weights and input, ``x`` [batch, time, size], in float64."""
    values = _on_grid(x, float(np.abs(x).max()) / 127)
    batch, time, _ = x.shape
    for depth in range(layer.num_layers):
        directions = []
        for direction in range(layer.num_directions):
            parameters = _parameters(layer, f"_l{depth}" + "_reverse" * direction)
            out = np.zeros((batch, time, layer.hidden_size))
            for item in range(batch):
                h = c = np.zeros(layer.hidden_size)
                steps = range(lengths[item])
                for t in reversed(steps) if direction else steps:
                    h, c = _step(type(layer).__name__, values[item, t], h, c, parameters)
                    out[item, t] = h
            directions.append(out)
        values = np.concatenate(directions, axis=-1)
    return values


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "direction": "bidirect"}, {"time_major": True}], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_layers_compute_their_equations(kind: type[nn.Layer], options: dict[str, Any], tmp_path: Path) -> None:
    layer, x = kind(6, 5, **options), data(3, 4, 6)
    given = x.transpose([1, 0, 2]) if layer.time_major else x
    twin = converted(layer, given)
    answer = twin(given)[0]
    expected = _run(layer, x.numpy(), np.full(3, 4))
    np.testing.assert_allclose(answer.transpose([1, 0, 2]).numpy() if layer.time_major else answer.numpy(), expected, rtol=1e-4, atol=1e-6)
    for a, b in zip(tensors(twin(given)), tensors(layer(given)), strict=True):
        assert relative(a, b) < 0.03
    assert reload_gap(twin, tmp_path, given) == 0.0


def test_sequence_lengths(tmp_path: Path) -> None:
    layer, x, lengths = nn.LSTM(6, 5, 2, direction="bidirect"), data(3, 4, 6), paddle.to_tensor([4, 1, 3])
    model = Net(lambda net, x, lengths: net.rnn(x, None, lengths)[0], rnn=layer)
    prepared = ImperativePTQ(absmax()).quantize(model)
    prepared(x, lengths)
    quantized = ImperativePTQ().convert(prepared)
    expected = _run(layer, x.numpy(), lengths.numpy())
    np.testing.assert_allclose(quantized(x, lengths).numpy(), expected, rtol=1e-4, atol=1e-6)
    assert reload_gap(quantized, tmp_path, x, lengths) == 0.0


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("kind", CELLS)
def test_cells_compute_their_equations(kind: type[nn.Layer], placement: str, tmp_path: Path) -> None:
    """A cell in a loop that the trace unrolls has an input grid for every step."""
    cell = kind(6, 5)
    model = Net(_two_steps, cell=cell)
    x = data(3, 2, 6)
    quantized = converted(model, x, config=PTQConfig(AbsmaxQuantizer(), placement=placement))
    assert quantized.cell.weight_ih_quantized.dtype == quantized.cell.weight_hh_quantized.dtype == paddle.int8
    assert relative(quantized(x), model(x)) < 0.04
    assert reload_gap(quantized, tmp_path, x) == 0.0
    if placement == "compute":
        h = c = np.zeros((3, 5))
        for step in range(2):
            given = x.numpy()[:, step]
            h, c = _step(kind.__name__, _on_grid(given, float(np.abs(given).max()) / 127), h, c, _parameters(cell))
        np.testing.assert_allclose(quantized(x).numpy(), h, rtol=1e-4, atol=1e-6)


def _two_steps(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    output, state = net.cell(x[:, 0])
    output, state = net.cell(x[:, 1], state)
    return output


@pytest.mark.parametrize("make", [lambda: nn.RNN(nn.GRUCell(6, 5)), lambda: nn.BiRNN(nn.LSTMCell(6, 5), nn.LSTMCell(6, 5))])
def test_cells_in_a_loop_of_the_program(make: Any, tmp_path: Path) -> None:
    """Paddle makes a loop of them, whose steps share one range: no reason for a warning."""
    model = Net(lambda net, x: net.rnn(x)[0], rnn=make())
    x = data(3, 4, 6)
    quantized = converted(model, x)
    cells = [layer for layer in quantized.sublayers() if isinstance(layer, QuantizedLayer)]
    assert len(cells) == (2 if isinstance(model.rnn, nn.BiRNN) else 1)
    assert relative(quantized(x), model(x)) < 0.03
    assert reload_gap(quantized, tmp_path, x) <= 1e-6  # Paddle's own loop adds in another order
    assert all(cell.call.__self__ is cell for cell in cells)


def test_a_loop_of_the_program_has_no_places_for_placement_full() -> None:
    model = Net(lambda net, x: net.rnn(x)[0], rnn=nn.RNN(nn.GRUCell(6, 5)))
    with pytest.raises(TraceError, match="placement='compute'"):
        converted(model, data(3, 4, 6), config=PTQConfig(placement="full"))


def test_a_projected_lstm_runs_its_cells(tmp_path: Path) -> None:
    """Paddle has no operator for it; the layer's own copies of the parameters go."""
    model, x = nn.LSTM(6, 5, proj_size=3), data(3, 4, 6)
    quantized = converted(model, x)
    assert type(quantized) is nn.LSTM
    assert isinstance(quantized[0].cell, QuantizedLSTMCell)
    assert not any(name.startswith("weight_ih_l0") for name in quantized.state_dict())
    assert relative(quantized(x)[0], model(x)[0]) < 0.03
    assert reload_gap(quantized, tmp_path, x) <= 1e-6


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_a_tagger(placement: str, tmp_path: Path) -> None:
    """Ids to tags, all layers quantized, a quarter of the size."""
    model = Net(
        lambda net, x: net.fc(net.rnn(net.tok(x))[0]),
        tok=nn.Embedding(50, 32),
        rnn=nn.LSTM(32, 32, direction="bidirectional"),
        fc=nn.Linear(64, 5),
    )
    ids = paddle.to_tensor(np.random.default_rng(0).integers(0, 50, (4, 7)))
    quantized = converted(model, ids, config=PTQConfig(AbsmaxQuantizer(), placement=placement))
    assert sum(isinstance(layer, QuantizedLayer) for layer in quantized.sublayers()) == 3
    assert relative(quantized(ids), model(ids)) < 0.04
    assert reload_gap(quantized, tmp_path, ids) == 0.0
    floats = sum(parameter.size for parameter in model.parameters())
    assert saved_bytes(tmp_path) < 1.4 * floats


def test_two_recurrent_layers_with_a_choice_of_ranges() -> None:
    """Candidates are compared on the sequence that comes out, not on the states beside it."""
    model = Net(lambda net, x: net.b(net.a(x)[0])[0], a=nn.GRU(6, 5), b=nn.LSTM(5, 4))
    for placement in ("compute", "full"):
        quantized = converted(model, data(3, 4, 6), config=PTQConfig(AutoQuantizer(), placement=placement))
        assert relative(quantized(data(3, 4, 6)), model(data(3, 4, 6))) < 0.04


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("make", [lambda: nn.LSTM(6, 5, 2), lambda: nn.GRUCell(6, 5)], ids=["LSTM", "GRUCell"])
def test_copies_and_state(make: Any, copied: Any) -> None:
    layer = make()
    x = data(3, 4, 6) if isinstance(layer, nn.LSTM) else data(3, 6)
    twin = converted(layer, x)
    np.testing.assert_array_equal(tensors(copied(twin)(x))[0].numpy(), tensors(twin(x))[0].numpy())
    other = converted(make(), x)
    assert other.set_state_dict(twin.state_dict()) == ([], [])
    np.testing.assert_array_equal(tensors(other(x))[0].numpy(), tensors(twin(x))[0].numpy())


def test_what_a_twin_shows() -> None:
    layer = nn.LSTM(6, 5, 2, direction="bidirect")
    twin = converted(layer, data(3, 4, 6))
    assert isinstance(twin, QuantizedLSTM)
    assert [tensor.shape for tensor in twin._all_weights] == [tensor.shape for tensor in layer._all_weights]
    assert not any("weight" in name for name, _ in twin.named_parameters())
    assert not hasattr(twin, "weight")
    assert "input_bits=8, weight_bits=8" in repr(twin)
    twin.flatten_parameters()
    with pytest.raises(ModelError, match="weight is fixed"):
        twin._all_weights = []
    cell = converted(nn.GRUCell(6, 5), data(3, 6))
    assert isinstance(cell, QuantizedGRUCell)
    assert cell.weight_hh.shape == [15, 5]
    with pytest.raises(ModelError, match="weight is fixed"):
        cell.weight_hh = paddle.zeros([15, 5])
    assert layer.could_use_cudnn
    assert len(layer) == 2


class _Doubled(nn.SimpleRNN):
    def forward(self, inputs: paddle.Tensor) -> paddle.Tensor:
        return super().forward(inputs)[0] * 2


def test_a_registered_subclass(tmp_path: Path) -> None:
    PTQRegistry.register(_Doubled)
    try:
        model, x = Net(lambda net, x: net.rnn(x), rnn=_Doubled(6, 5)), data(3, 4, 6)
        quantized = converted(model, x)
        assert isinstance(quantized.rnn, QuantizedSimpleRNN)  # its integers
        assert isinstance(quantized.rnn, _Doubled)  # and the user's forward
        np.testing.assert_allclose(quantized(x).numpy(), 2 * _run(model.rnn, x.numpy(), np.full(3, 4)), rtol=1e-4, atol=1e-6)
        assert reload_gap(quantized, tmp_path, x) == 0.0
    finally:
        PTQRegistry.unregister(_Doubled)


def test_relu_cells_and_keyword_calls() -> None:
    model = Net(lambda net, x: net.rnn(inputs=x)[0], rnn=nn.SimpleRNN(6, 5, activation="relu"))
    quantized = quietly(lambda: converted(model, data(3, 4, 6)))
    assert relative(quantized(data(3, 4, 6)), model(data(3, 4, 6))) < 0.03
