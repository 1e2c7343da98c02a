"""What a report says of layers, against the same computed layer by layer in float64 from grids and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.static import InputSpec
from report_nets import ABSMAX, ONE_RANGE, Sound, batches, quantized, set_weight
from saved_nets import without_checks

import ptq
from ptq.convert.apply import as_float
from ptq.layers.gridded import grids_of
from ptq.reports.accuracy import ProgramSubject, TwinSubject, measure
from ptq.reports.accuracy.noise import Noise, power
from ptq.reports.coverage.flow import flow


def sqnr(reference: np.ndarray, other: np.ndarray) -> float:
    """Written out in float64."""
    a, b = reference.astype(np.float64), other.astype(np.float64)
    return float(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()))


def calls(tensors: list[paddle.Tensor]) -> list[Any]:
    return [(((x,), {}), int(x.shape[0])) for x in tensors]


def float_tensors(model: nn.Layer, names: list[str], x: paddle.Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Input and output of each layer, from hooks on the float model."""
    found = {}
    layers = dict(model.named_sublayers())

    def hook(name: str) -> Any:
        return lambda _, args, output: found.update({name: (args[0].numpy(), output.numpy())})

    handles = [layers[name].register_forward_post_hook(hook(name)) for name in names]
    with paddle.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found


# Ranges of channels in front of the depthwise convolution that give it a grid per channel.
UNEVEN = np.array([1, 30, 1, 1, 0.1, 1, 5, 1]).reshape(-1, 1, 1, 1)
NAMES = ["stem", "block.0", "block.2", "head.fc"]


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_errors_alone_and_in_all_are_those_of_an_independent_computation(placement: str) -> None:
    net = Sound()
    for parameter in (net.norm.weight, net.norm.bias, net.norm._mean):
        parameter.set_value(paddle.to_tensor(np.random.default_rng(1).uniform(0.5, 2, 8), dtype="float32"))
    set_weight(net.stem, lambda w: w * UNEVEN)
    result = quantized(net, ABSMAX, placement=placement)
    assert np.ndim(dict(result.model.named_sublayers())["block.0"].input_factors), "no channel has a grid of its own"
    x = batches(1, seed=9)[0]
    measured = measure(TwinSubject(result.model), calls([x]), {row.site: row for row in result.report.coverage.rows})
    layers = {layer.name: layer for layer in measured.layers}
    assert list(layers) == NAMES
    floats = float_tensors(as_float(result.model), NAMES, x)
    twins = dict(result.model.named_sublayers())
    for name in NAMES:
        twin, (given, computed) = twins[name], floats[name]
        grid = twin.input_qparams
        if grid is None:
            grid = next(grids_of(result.model)[site].input_qparams for site in twin._quant_config.input_sites)
        factors = np.broadcast_to(1.0 / np.asarray(twin.input_factors), given.shape[1])  # which its weights took up
        shaped = factors.reshape([1, -1] + [1] * (given.ndim - 2)).astype(np.float32)
        rounded = grid.fake_quantize(given / shaped)
        assert layers[name].input is not None
        assert layers[name].input_db == pytest.approx(sqnr(given, rounded * shaped), abs=0.02)
        with paddle.no_grad():
            alone = type(twin).float_class.forward(twin, paddle.to_tensor(rounded)).numpy()
        own = np.asarray(twin.result_factors)
        if own.ndim:
            alone = alone / own.reshape([1, -1] + [1] * (alone.ndim - 2))
        assert layers[name].alone_db == pytest.approx(sqnr(computed, alone), abs=0.05), name
    # all errors together: what hooks on the quantized model see
    seen = float_tensors(result.model, NAMES, x)
    for name in NAMES:
        own = np.asarray(twins[name].result_factors)
        total = seen[name][1] / (own.reshape([1, -1] + [1] * (seen[name][1].ndim - 2)) if own.ndim else 1.0)
        assert layers[name].total_db == pytest.approx(sqnr(floats[name][1], total), abs=0.05), name
    with paddle.no_grad():
        assert measured.outputs[0].sqnr_db == pytest.approx(sqnr(as_float(result.model)(x).numpy(), result.model(x).numpy()), abs=1e-3)


def test_weights_by_channel_and_in_all() -> None:
    net = Sound()
    result = quantized(net)
    measured = measure(TwinSubject(result.model), calls(batches(1)), {})
    twin = dict(result.model.named_sublayers())["block.2"]
    weight, rounded = net.block[2].weight.numpy(), twin.weight.numpy() / np.asarray(twin.weight_factors, dtype=np.float32)
    record = next(layer for layer in measured.layers if layer.name == "block.2").weight
    assert record is not None
    assert record.sqnr_db == pytest.approx(sqnr(weight, rounded), abs=1e-3)
    assert record.channel_db == pytest.approx([sqnr(a, b) for a, b in zip(weight, rounded, strict=True)], abs=1e-3)
    assert record.high == pytest.approx(weight.reshape(8, -1).max(axis=1))


def test_saved_programs_give_the_same_figures_as_the_model_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checks(monkeypatch)
    net = Sound()
    set_weight(net.stem, lambda w: w * UNEVEN)
    net.norm.weight.set_value(paddle.to_tensor([2.0, -1.5, 0.5, 1, 3, -0.7, 1, 1], dtype="float32"))
    net.norm._variance.set_value(paddle.to_tensor(np.random.default_rng(3).uniform(0.3, 3, 8), dtype="float32"))
    for placement in ("compute", "full"):
        result = quantized(net, placement=placement)
        x = batches(2, seed=5)
        inside = measure(TwinSubject(result.model), calls(x), {})
        result.save(tmp_path / placement, verbose=False)
        # the float program with its batch norm, as users have it
        paddle.jit.save(net, str(tmp_path / "float"), input_spec=[InputSpec([None, 3, 8, 8], "float32", "x")])
        programs = [ptq.reports.compare.open_saved(tmp_path / name).program for name in ("float", placement)]
        saved = measure(ProgramSubject(*programs, result.report.coverage.channel_factors), calls(x), {})
        for a, b in zip(inside.layers, saved.layers, strict=True):
            assert (b.total_db, b.weight_db) == pytest.approx((a.total_db, a.weight_db), abs=0.3), a.name
            if (placement, a.name) == (
                "full",
                "head.fc",
            ):  # the sum before it is in units of its own: grids are those of its operands
                assert b.alone_db == pytest.approx(a.alone_db, abs=12)
            else:
                assert (b.alone_db, b.input_db) == pytest.approx((a.alone_db, a.input_db), abs=0.3), a.name


def test_the_models_are_left_as_they_were() -> None:
    result = quantized(Sound(), placement="full")
    x = batches(1)[0]
    before, keys = result.model(x).numpy(), sorted(vars(result.model))
    measure(TwinSubject(result.model), calls([x]), {})
    np.testing.assert_array_equal(result.model(x).numpy(), before)
    assert sorted(vars(result.model)) == keys
    assert all(not layer._forward_post_hooks and not layer._forward_pre_hooks for layer in result.model.sublayers())


def test_powers_of_numbers_that_float32_cannot_square() -> None:
    assert power(np.full(4, 1e30, np.float32)) == pytest.approx(4e60, rel=1e-6)
    assert power(np.full(4, 1e-30, np.float32)) == pytest.approx(4e-60, rel=1e-6)
    assert np.isnan(power(np.float32([1, np.nan])))
    random = np.random.default_rng(0).standard_normal(300_001).astype(np.float32)
    assert power(random) == pytest.approx(float((random.astype(np.float64) ** 2).sum()), rel=1e-5)
    noise = Noise()
    assert noise.db is None
    noise.add(np.float32([np.inf]), np.float32([1]))
    assert noise.db == -np.inf


def test_the_network_has_an_edge_for_each_tensor_that_is_handed_on() -> None:
    result = quantized(Sound())
    sites, pairs = flow(result.model)
    named = {(sites[a], sites[b]) for a, b in pairs}
    assert "norm" not in sites  # folded
    expected = [("stem", "relu#0"), ("relu#0", "block.0"), ("block.0", "block.1"), ("block.1", "block.2"), ("block.2", "add#0")]
    assert {*expected, ("block.2", "relu#1"), ("relu#1", "add#0"), ("flatten~0", "head.fc")} <= named
    assert len(pairs) == len(sites)  # a chain with one shortcut


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_quick_rounding_answers_as_the_model_to_the_bit(placement: str) -> None:
    net = Sound()
    set_weight(net.stem, lambda w: w * UNEVEN)
    result = quantized(net, placement=placement)
    x = batches(1, seed=3)[0]
    answers = TwinSubject(result.model)
    answers.float_forward(((x,), {}))
    np.testing.assert_array_equal(answers.int8_forward(((x,), {}), lambda *_: None)[0], result.model(x).numpy())


class InPlace(nn.Layer):
    """Changes what a convolution computed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2D(3, 8, 1), nn.Conv2D(8, 8, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.second(nn.functional.relu_(self.first(x)))


def test_tensors_that_a_model_changes_in_place_are_seen_as_they_were() -> None:
    paddle.seed(0)
    result = quantized(InPlace(), ONE_RANGE)
    layers = measure(TwinSubject(result.model), calls(batches(3)), {}).layers
    with paddle.no_grad():
        x = paddle.concat(batches(3))
        assert layers[0].total_db == pytest.approx(sqnr(as_float(result.model).first(x).numpy(), result.model.first(x).numpy()), abs=0.05)
