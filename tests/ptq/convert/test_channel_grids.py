"""Grids per channel in front of depthwise convolutions: what they win, and that they change nothing else."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from channel_cases import lcnet, quantized, spread, sqnr
from models import Net, calibrated, data
from paddle import nn

from ptq import Calibration, ImperativePTQ, PTQConfig, QuantOverride
from ptq.calibration.state import state_of
from ptq.layers.gridded import grids_of
from quantizers import AutoQuantizer

ACTS = {"relu": F.relu, "hardswish": F.hardswish, "relu6": lambda x: F.relu6(x)}


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("act", ["relu", "hardswish"])
def test_they_bring_a_mobile_net_back(act: str, placement: str) -> None:
    net = lcnet(ACTS[act])
    one = sqnr(net, quantized(net, placement, per_channel_activations=False))
    each = sqnr(net, quantized(net, placement))
    assert one < 18
    assert each > one + 12


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("act", list(ACTS))
def test_at_16_bits_the_function_is_the_float_one(act: str, placement: str) -> None:
    """All that folding does is then visible: it is preserved to rounding."""
    net = lcnet(ACTS[act])
    overrides: Any = {"": QuantOverride(activation_bits=16, weight_bits=16)}
    model = quantized(net, placement, overrides=overrides, calibration=data(16, 3, 24, 24, seed=1))
    assert state_of(model).traced.channels
    assert sqnr(net, model) > 80


def test_a_relu_lets_the_weights_before_it_take_the_ratios_and_nothing_is_computed_more() -> None:
    model = quantized(lcnet(F.relu), "compute")
    assert all("input_factor" not in layer._buffers for layer in model.sublayers())
    multiplied = quantized(lcnet(F.hardswish), "compute")
    assert "input_factor" in multiplied.blocks[1].dw._buffers


@pytest.mark.parametrize("target", ["any", "openvino"])
def test_a_relu6_lets_them_too_and_channels_that_reach_6_end_there(target: str) -> None:
    """By the largest number that the grid has for each channel: that of its range, which is 6 where more would come."""
    net = lcnet(F.relu6)
    for block in net.blocks[1:]:
        block.dw.weight.set_value(block.dw.weight * 50)
    x = data(16, 3, 24, 24)
    model = ImperativePTQ().convert(calibrated(net, x, config=PTQConfig(placement="full")), target=target)
    assert "input_factor" not in grids_of(model)["blocks.0.relu6#1"]._buffers
    dw, seen = model.blocks[1].dw, []
    float_hook = net.blocks[1].dw.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy()))
    with paddle.no_grad():
        net(x)
    float_hook.remove()
    reached = seen[0].max(axis=(0, 2, 3)).astype(np.float64)
    grid = grids_of(model)["blocks.0.relu6#1"].input_qparams
    ends = float(grid.scale) * (grid.quant_max - int(grid.zero_point)) / np.asarray(dw.input_factors)
    live = reached > 0
    assert (reached == 6).any()
    assert (reached[live] < 5).any()
    np.testing.assert_allclose(ends[live], reached[live], rtol=1e-5)
    assert (np.asarray(dw.input_factors) <= 1).all(), "nothing is capped at 6 before the grid's end"


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_a_relu6_keeps_its_cap_where_something_lies_between_it_and_the_grid(placement: str) -> None:
    """A mean of what is capped is no cap of a mean: at 16 bits the function is the float one."""

    def compute(net: Any, x: Any) -> Any:
        return net.last(F.relu(net.dw(F.avg_pool2d(F.relu6(net.first(x)), 2))))

    paddle.seed(0)
    layers = {"first": nn.Conv2D(3, 8, 3, padding=1), "dw": nn.Conv2D(8, 8, 3, padding=1, groups=8), "last": nn.Conv2D(8, 4, 1)}
    net = Net(compute, **layers)
    spread(net.first, net.dw)
    net.eval()
    x = data(16, 3, 24, 24)
    with paddle.no_grad():
        assert float((net.first(x) > 6).astype("float32").mean()) > 0.1
    model = quantized(net, placement, overrides={"": QuantOverride(activation_bits=16, weight_bits=16)}, calibration=x)
    assert sqnr(net, model, x) > 70


def test_a_result_whose_activation_is_read_twice_is_scaled_once() -> None:
    """By two depthwise convolutions, with a learned number added for each: at 16 bits the function is the float one."""

    def compute(net: Any, x: Any) -> Any:
        y = F.hardswish(net.first(x))
        return net.last(F.relu(net.dw(y + net.one)) + F.relu(net.other(y + net.two)))

    paddle.seed(0)
    depthwise = {name: nn.Conv2D(8, 8, 3, padding=1, groups=8) for name in ("dw", "other")}
    net = Net(compute, first=nn.Conv2D(3, 8, 3, padding=1), last=nn.Conv2D(8, 4, 1), **depthwise)
    for name, number in (("one", 0.7), ("two", -0.2)):
        setattr(net, name, net.create_parameter([1], default_initializer=nn.initializer.Constant(number)))
    spread(net.first, net.dw)
    net.other.weight.set_value(net.dw.weight)
    net.eval()
    x = data(16, 3, 24, 24)
    model = quantized(net, "full", overrides={"": QuantOverride(activation_bits=16, weight_bits=16)}, calibration=x)
    assert any("output_factor" in grid._buffers for grid in grids_of(model).values())
    assert sqnr(net, model, x) > 70


def test_the_fold_against_float64() -> None:
    """Weights and biases of the producer over the ratios, those of the reader times them, by an independent computation."""
    net = lcnet(F.relu)
    model = quantized(net, "compute")
    ratios = 1.0 / model.blocks[1].dw.input_factors
    assert ratios.max() == pytest.approx(1.0)
    assert ratios.min() < 0.02
    twins = dict(model.named_sublayers())
    chain = ["stem", "blocks.0.dw", "blocks.0.pw", "blocks.1.dw", "blocks.1.pw", "blocks.2.dw", "blocks.2.pw"]
    for name, reader in pairwise(chain):
        np.testing.assert_allclose(np.asarray(twins[name].result_factors) * (1.0 / np.asarray(twins[reader].input_factors)), 1.0, rtol=1e-6)
    for name in chain:
        layer, twin = dict(net.named_sublayers())[name], twins[name]
        own = np.broadcast_to(np.asarray(twin.result_factors, dtype=np.float64), layer.bias.shape)
        read = np.broadcast_to(np.asarray(twin.input_factors, dtype=np.float64), [layer._in_channels])
        read = np.repeat(read.reshape(layer._groups, -1), layer._out_channels // layer._groups if layer._groups > 1 else 1, axis=0)
        exact = layer.weight.numpy().astype(np.float64) * own.reshape(-1, 1, 1, 1) / read.reshape(*read.shape, 1, 1)
        scale = twin.weight_scale.numpy().astype(np.float64).reshape(-1, 1, 1, 1)
        assert (np.abs(twin.weight_quantized.numpy() * scale - exact) <= scale * 0.5001).all(), name
        np.testing.assert_allclose(twin.bias.numpy(), layer.bias.numpy().astype(np.float64) * own, rtol=1e-6, atol=1e-7)


def test_what_others_read_too_keeps_one_range() -> None:
    def forward(net: Any, x: Any) -> Any:
        y = F.relu(net.stem(x))
        return net.dw(y) + y

    net = Net(forward, stem=nn.Conv2D(3, 8, 1), dw=nn.Conv2D(8, 8, 3, padding=1, groups=8))
    for placement in ("compute", "full"):
        model = quantized(net, placement, data(4, 3, 8, 8))
        assert not np.ndim(model.stem.result_factors), placement
        assert sqnr(net, model, data(4, 3, 8, 8, seed=1)) > 30


def test_layers_called_twice_keep_one_range() -> None:
    def forward(net: Any, x: Any) -> Any:
        y = F.relu(net.grouped(F.relu(net.stem(x))))
        return net.twice(F.relu(net.twice(y)))

    net = Net(forward, stem=nn.Conv2D(3, 8, 1), grouped=nn.Conv2D(8, 8, 3, groups=2), twice=nn.Conv2D(8, 8, 3, padding=1, groups=8))
    model = quantized(net, "compute", data(4, 3, 8, 8))
    assert set(state_of(model).traced.channels) == {"grouped"}
    assert not np.ndim(model.twice.input_factors)
    assert not np.ndim(model.grouped.result_factors)


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_dead_channels_and_zero_weights(placement: str) -> None:
    net = lcnet(F.hardswish)
    for conv in (net.stem, net.blocks[0].pw):
        weight, bias = conv.weight.numpy(), conv.bias.numpy()
        weight[3], bias[3] = 0, 0
        conv.weight.set_value(weight)
        conv.bias.set_value(bias)
    weight = net.blocks[1].dw.weight.numpy()
    weight[5] = 0
    net.blocks[1].dw.weight.set_value(weight)
    model = quantized(net, placement)
    assert sqnr(net, model) > 26
    assert all(np.isfinite(tensor.numpy()).all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_padding_strides_and_channel_multipliers(stride: int, multiplier: int) -> None:
    net = Net(
        lambda m, x: m.dw(F.relu(m.stem(x))),
        stem=nn.Conv2D(3, 8, 1),
        dw=nn.Conv2D(8, 8 * multiplier, 3, stride=stride, padding=2, groups=8),
    )
    if multiplier == 1:
        spread(net.stem, net.dw)
    x = data(8, 3, 9, 9)
    overrides: Any = {"": QuantOverride(activation_bits=16, weight_bits=16)}
    model = quantized(net, "compute", x, overrides=overrides)
    assert state_of(model).traced.channels
    assert sqnr(net, model, x) > 80  # so that nothing but rounding is left


def test_it_can_be_turned_off_for_all_and_for_a_layer() -> None:
    off = quantized(lcnet(), "compute", per_channel_activations=False)
    assert state_of(off).traced.channels == {}
    one = quantized(lcnet(), "compute", overrides={"blocks.1.dw": QuantOverride(per_channel_activation=False)})
    assert {"blocks.0.dw", "blocks.2.dw"} <= set(state_of(one).traced.channels)
    assert "blocks.1.dw" not in state_of(one).traced.channels
    only = quantized(
        lcnet(), "compute", per_channel_activations=False, overrides={"blocks.1.dw": QuantOverride(per_channel_activation=True)}
    )
    assert set(state_of(only).traced.channels) == {"blocks.1.dw"}


def test_candidate_ranges_and_grids_per_channel_together() -> None:
    for placement in ("compute", "full"):
        net = lcnet(F.relu)
        engine = ImperativePTQ(PTQConfig(AutoQuantizer(), placement=placement))
        prepared = engine.quantize(net)
        with paddle.no_grad():
            prepared(data(16, 3, 24, 24))
        assert sqnr(net, engine.convert(prepared)) > 26


def test_a_calibration_file_carries_them(tmp_path: Path) -> None:
    engine = ImperativePTQ()
    prepared, other = engine.quantize(lcnet()), engine.quantize(lcnet())
    with paddle.no_grad():
        prepared(data(16, 3, 24, 24))
    Calibration.of(prepared).save(tmp_path / "c.npz")
    loaded = Calibration.load(tmp_path / "c.npz")
    assert loaded == Calibration.of(prepared)
    loaded.apply(other)
    x = data(4, 3, 24, 24, seed=1)
    np.testing.assert_array_equal(engine.convert(prepared)(x).numpy(), engine.convert(other)(x).numpy())


def test_parts_merge_to_what_one_pass_sees() -> None:
    engine, x = ImperativePTQ(), data(16, 3, 24, 24)

    def seen(*batches: Any) -> Calibration:
        prepared = engine.quantize(lcnet())
        with paddle.no_grad():
            for batch in batches:
                prepared(batch)
        return Calibration.of(prepared)

    whole = seen(x[:8], x[8:])
    assert any(layer.channels is not None for layer in whole.layers.values())
    assert Calibration.merge([seen(x[:8]), seen(x[8:])]) == whole == Calibration.merge([seen(x[8:]), seen(x[:8])])


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_copies_pickles_and_saved_models_answer_alike(placement: str, tmp_path: Path) -> None:
    model = quantized(lcnet(), placement)
    x = data(4, 3, 24, 24, seed=1)
    expected = model(x).numpy()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other(x).numpy(), expected)
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "m"), verbose=False)
    np.testing.assert_array_equal(paddle.jit.load(str(tmp_path / "m"))(x).numpy(), expected)
