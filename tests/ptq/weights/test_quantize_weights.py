"""`quantize_weights`: what is stored, what it stands for, and what is refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from fresh import answers_of
from models import relative
from paddle import nn
from paddle.static import InputSpec
from reloading import reload_gap, saved_bytes
from weight_nets import Perceptron, TiedModel, ids, numbers

import ptq
from ptq.layers.block_weight import matrix_rows
from ptq.registry import PTQRegistry
from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError, NoCalibrationDataError, NonFiniteError
from quantizers.grids.log_grid import LogGrid
from quantizers.weights.block_rules import absmax_grid

LAYERS = {
    "linear": (lambda: nn.Linear(40, 7), (3, 40), 1),
    "conv1d": (lambda: nn.Conv1D(5, 6, 3), (2, 5, 9), 0),
    "conv2d": (lambda: nn.Conv2D(5, 6, 3, groups=1), (2, 5, 7, 7), 0),
    "depthwise": (lambda: nn.Conv2D(6, 6, 3, groups=6), (2, 6, 7, 7), 0),
    "conv3d": (lambda: nn.Conv3D(2, 4, 3), (1, 2, 5, 5, 5), 0),
    "transposed": (lambda: nn.Conv2DTranspose(6, 5, 3), (1, 6, 5, 5), 1),
}


def quantized(model: nn.Layer, **options: Any) -> nn.Layer:
    return ptq.quantize_weights(model, progress=False, **options).model


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("group", [None, 16, 32])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_weight_is_what_the_grid_says(kind: str, bits: int, group: int | None, symmetric: bool) -> None:
    make, shape, axis = LAYERS[kind]
    layer = make()
    before = layer.weight.numpy().copy()
    twin = quantized(layer, bits=bits, group_size=group, symmetric=symmetric)
    if bits > 4 and symmetric and group is None:
        scale = np.abs(matrix_rows(before, axis)).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
        expected = np.rint(matrix_rows(before, axis) / scale) * scale
        np.testing.assert_allclose(matrix_rows(twin.weight.numpy(), axis), expected, rtol=1e-5, atol=1e-9)
    else:
        rows = matrix_rows(before, axis)
        grid = absmax_grid(rows, bits, group, symmetric)
        np.testing.assert_array_equal(matrix_rows(twin.weight.numpy(), axis), grid.dequantize(grid.quantize(rows)))
    np.testing.assert_array_equal(layer.weight.numpy(), before)
    assert relative(twin(numbers(*shape)), layer(numbers(*shape))) < {2: 1.5, 3: 0.5, 4: 0.25}.get(bits, 0.1)


@pytest.mark.parametrize(("bits", "each"), [(2, 4), (3, 2), (4, 2), (8, 1)])
def test_only_packed_integers_are_held(bits: int, each: int) -> None:
    model = quantized(nn.Linear(64, 16), bits=bits, group_size=32)
    assert "weight" not in model._parameters
    stored = model.state_dict()["weight_quantized"]
    assert stored.dtype == paddle.int8
    assert stored.shape == [16, 64 // each]
    assert f"weight_bits={bits}" in repr(model)


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 4, "group_size": 16},
        *(
            pytest.param(more, marks=pytest.mark.slow)
            for more in ({"bits": 4}, {"bits": 3, "group_size": 32, "symmetric": True}, {"bits": 8})
        ),
    ],
)
def test_portable_artifacts_answer_exactly_in_a_fresh_process(options: dict[str, Any], tmp_path: Path) -> None:
    result = ptq.quantize_weights(Perceptron(), input_spec=[InputSpec([None, 40], "float32")], progress=False, **options)
    result.save(tmp_path / "m", verbose=False)
    x = numbers(5, 40)
    np.testing.assert_array_equal(answers_of(tmp_path / "m", x, tmp_path).numpy(), result.model(x).numpy())


def test_four_bits_are_packed_in_the_artifact(tmp_path: Path) -> None:
    model = quantized(nn.Linear(256, 128), bits=4, group_size=32)
    assert reload_gap(model, tmp_path, numbers(3, 256)) == 0
    assert saved_bytes(tmp_path) < 256 * 128 / 2 + 256 * 128 / 32 * 5 + 128 * 4 + 800


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.SimpleRNN])
@pytest.mark.parametrize("options", [{"bits": 4, "group_size": 16}, {"bits": 8}, {"bits": 4}])
def test_recurrent_layers(kind: Any, options: dict[str, Any], tmp_path: Path) -> None:
    layer = kind(10, 12, num_layers=2, direction="bidirect")
    twin, x = quantized(layer, **options), numbers(2, 5, 10)
    assert not [name for name in twin.state_dict() if name.startswith("weight") and not name.endswith(("quantized", "scale", "zero_point"))]
    assert 0 < relative(twin(x)[0], layer(x)[0]) < 0.25
    assert reload_gap(twin, tmp_path, x) == 0


@pytest.mark.parametrize(
    "options", [{"bits": 4, "group_size": 16}, {"bits": 4}, {"bits": 8, "per_channel": False}, {"bits": 2, "per_channel": False}]
)
@pytest.mark.parametrize("padding", [None, 3, -1])
def test_embeddings_look_rows_up_as_the_whole_weight_has_them(options: dict[str, Any], padding: int | None, tmp_path: Path) -> None:
    layer = nn.Embedding(20, 33, padding_idx=padding)
    layer.weight.set_value(numbers(20, 33))  # the padding row too: Paddle answers zeros for it whatever it holds
    twin = quantized(layer, **options)
    expected = twin.weight.numpy().copy()
    if padding is not None:
        expected[padding] = 0
    np.testing.assert_array_equal(twin(paddle.arange(20).reshape([4, 5])).numpy(), expected.reshape(4, 5, 33))
    assert reload_gap(twin, tmp_path, ids(4, 5)) == 0


def test_logarithmic_embeddings(tmp_path: Path) -> None:
    layer = nn.Embedding(20, 32)
    weight = layer.weight.numpy()
    weight[4, 7] = 0
    layer.weight.set_value(weight)
    twin = quantized(layer, algorithm="log")
    grid = LogGrid.of(float(np.abs(weight).max()))
    np.testing.assert_array_equal(twin.weight.numpy(), grid.dequantize(grid.quantize(weight)))
    np.testing.assert_array_equal(twin(paddle.arange(20)).numpy(), twin.weight.numpy())
    assert float(twin(paddle.to_tensor([4]))[0, 7]) == 0
    assert twin.weight_quantized.dtype == paddle.int8
    assert reload_gap(twin, tmp_path, ids(4, 5)) == 0


def test_log_is_for_embeddings_only() -> None:
    model = quantized(TiedModel(), algorithm="log")
    assert PTQRegistry.is_quantized_layer(model.tok)
    assert not PTQRegistry.is_quantized_layer(model.fc)
    with pytest.raises(ModelError, match="no float layer"):
        quantized(nn.Linear(3, 3), algorithm="log")


def test_a_tied_weight_is_stored_once_and_stays_tied(tmp_path: Path) -> None:
    model, x = TiedModel(), ids(3, 6)
    twin = quantized(model, bits=8)
    assert relative(twin(x), model(x)) < 0.05
    assert reload_gap(twin, tmp_path, x) == 0
    assert saved_bytes(tmp_path) < 20 * 32 + 20 * 4 + 32 * 32 + 32 * 8 + 1000


def test_two_layers_that_share_a_parameter_share_its_codes() -> None:
    model = nn.LayerList([nn.Linear(32, 32), nn.Linear(32, 32), nn.Embedding(32, 32)])
    model[1].weight = model[0].weight
    model[2].weight = model[0].weight
    twin = quantized(model, bits=4, group_size=16)
    assert twin[0].weight_quantized is twin[1].weight_quantized is twin[2].weight_quantized
    np.testing.assert_array_equal(twin[2](paddle.arange(32)).numpy(), twin[0].weight.numpy())


def test_calls_can_follow_each_other_with_other_layers() -> None:
    model, x = TiedModel(), ids(3, 6)
    once = quantized(model, bits=4, group_size=32, layers=nn.Linear)
    twice = quantized(once, bits=8, layers="tok")
    assert (twice.fc._weight_bits, twice.tok._weight_bits) == (4, 8)
    np.testing.assert_array_equal(twice.fc.weight.numpy(), once.fc.weight.numpy())
    assert not PTQRegistry.is_quantized_layer(once.tok)
    assert relative(twice(x), model(x)) < 0.3
    with pytest.raises(ModelError, match="quantized already"):
        quantized(twice)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("first", {"first"}),
        ("s*", {"second"}),
        (nn.Linear, {"first", "second"}),
        ("re:^fir", {"first"}),
        (["first", "second"], {"first", "second"}),
    ],
)
def test_layers_names_what_is_quantized(layers: Any, expected: set[str]) -> None:
    model = quantized(Perceptron(), layers=layers)
    assert {name for name, layer in model.named_sublayers() if PTQRegistry.is_quantized_layer(layer)} == expected


@pytest.mark.parametrize("algorithm", ["gptq", "awq"])
@pytest.mark.parametrize("group", [None, 16])
def test_data_lowers_the_error_of_the_output(algorithm: str, group: int | None, tmp_path: Path) -> None:
    model = Perceptron()
    mixed = numbers(40, 40, seed=3) * np.geomspace(0.1, 3, 40).astype("float32")
    batches = [paddle.matmul(numbers(64, 40, seed=seed), mixed) for seed in range(4)]
    test = paddle.matmul(numbers(100, 40, seed=9), mixed)
    plain = quantized(model, bits=3, group_size=group, algorithm="mse")
    better = quantized(model, bits=3, group_size=group, algorithm=algorithm, data=batches)
    error = [float(((net(test) - model(test)) ** 2).mean()) for net in (plain, better)]
    assert error[1] < (0.7 if algorithm == "gptq" else 0.95) * error[0]
    assert reload_gap(better, tmp_path, test) <= 1e-5


def test_gptq_reads_convolutions_through_their_padding() -> None:
    """The products of a convolution's inputs are those of its patches: the error of its output follows from them exactly."""
    from ptq.weights.products import products_of

    for options in ({"padding": 1}, {"padding": [0, 1, 2, 3]}, {"padding": "SAME"}, {"padding": "VALID", "stride": 2}, {"dilation": 2}):
        layer, x = nn.Conv2D(3, 5, 3, bias_attr=False, **options), numbers(2, 3, 9, 8)
        found = products_of(layer, [layer], [((x,), {})])[layer]
        rows = matrix_rows(layer.weight.numpy(), 0).astype(np.float64)
        assert np.einsum("cf,fg,cg->", rows, found.products, rows) == pytest.approx(float((layer(x) ** 2).sum()), rel=1e-4)
        assert found.count == layer(x).numpy()[:, 0].size


def test_copies_and_pickles_answer_alike() -> None:
    twin, x = quantized(Perceptron(), bits=4, group_size=16), numbers(3, 40)
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        np.testing.assert_array_equal(other(x).numpy(), twin(x).numpy())


def test_the_model_is_left_as_it_was() -> None:
    model, x = Perceptron(), numbers(3, 40)
    model.train()
    before, state = model(x).numpy(), {name: value.numpy().copy() for name, value in model.state_dict().items()}
    twin = quantized(model, bits=4, group_size=16)
    twin.first.bias.set_value(paddle.ones([48]))
    np.testing.assert_array_equal(model(x).numpy(), before)
    assert all(np.array_equal(state[name], value.numpy()) for name, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 9}, "bits"), ({"bits": True}, "bits"), ({"bits": 1}, "bits"), ({"group_size": 48}, "group_size"),
        ({"group_size": 32.0}, "group_size"), ({"algorithm": "best"}, "algorithm"), ({"symmetric": 1}, "symmetric"),
        ({"per_channel": False, "group_size": 32}, "group_size=32"), ({"algorithm": "gptq"}, "pass data"),
        ({"data": [1]}, "uses no data"), ({"layers": []}, "layers"), ({"layers": [3]}, "layers"), ({"layers": "nope"}, "nope"),
        ({"algorithm": "log", "bits": 4}, "log"), ({"algorithm": "awq", "per_channel": False, "data": [1]}, "awq"),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quantized(Perceptron(), **options)


def test_other_refusals() -> None:
    with pytest.raises(ConfigError, match="path of a saved program"):
        quantized(3)  # type: ignore[arg-type]
    with pytest.raises(NoCalibrationDataError):
        quantized(Perceptron(), algorithm="gptq", data=[])
    with pytest.raises(AlreadyQuantizedError):
        quantized(ptq.ImperativePTQ().quantize(Perceptron()))
    with pytest.raises(ModelError, match="no float layer"):
        quantized(nn.ReLU())
    model = Perceptron()
    model.first.weight.set_value(paddle.full([40, 48], float("inf")))
    with pytest.raises(NonFiniteError, match=r"first\.weight"):
        quantized(model)


def test_the_coverage_says_what_became_of_the_layers() -> None:
    result = ptq.quantize_weights(
        TiedModel(), bits=4, group_size=32, layers=nn.Linear, input_spec=[InputSpec([None, 6], "int64")], progress=False
    )
    rows = {row.site: row for row in result.report.coverage.rows}
    assert not result.report.coverage.untraced
    assert "weight alone is integers, of 4 bits" in rows["fc"].reason
    assert rows["fc"].bytes < 32 * 32
