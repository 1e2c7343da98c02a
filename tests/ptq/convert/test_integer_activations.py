"""HardSwish on integers, and learned numbers that become part of a grid's zero point."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from channel_cases import spread, sqnr
from cpus import WEIGHT_BITS
from fresh import answers_of
from models import Net, calibrated, data, relative
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from ptq.convert.apply import as_float
from ptq.export import export_onnx
from ptq.layers.gridded import grids_of, integer_activations_of
from ptq.layers.integer_hardswish import IntegerHardswish
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

TARGET = "onnxruntime"


def plain(net: Any, x: Any) -> Any:
    """A HardSwish that is a layer, and one that is a function."""
    return net.last(F.hardswish(net.middle(net.act(net.first(x)))))


def shifted(net: Any, x: Any) -> Any:
    """As PP-LCNet has it with learned affine maps: a number is added behind the activation, before a padded convolution."""
    return net.last(net.act(net.middle(F.hardswish(net.first(x)) + net.number)))


def made(compute: Any, **layers: Any) -> nn.Layer:
    paddle.seed(3)
    convolutions = {"first": nn.Conv2D(3, 8, 3, padding=1), "middle": nn.Conv2D(8, 8, 3, padding=1), "last": nn.Conv2D(8, 4, 1)}
    net = Net(compute, **convolutions, act=nn.Hardswish(), **layers)
    net.first.weight.set_value(net.first.weight * 4)
    net.number = net.create_parameter([1], default_initializer=nn.initializer.Constant(0.7))
    return net


def quantized(net: nn.Layer, target: str = TARGET, **options: Any) -> nn.Layer:
    config = PTQConfig(placement="full", weight_quantizer=PerChannelAbsmaxQuantizer(WEIGHT_BITS), **options)
    return ImperativePTQ(config).convert(calibrated(net, data(8, 3, 12, 12), config=config), target=target)


def test_the_layer_computes_what_integers_do() -> None:
    x = np.linspace(-5, 5, 4001, dtype=np.float32)
    gate = np.clip(np.rint((x.astype(np.float64) + 3) * 255 / 6), 0, 255)
    got = IntegerHardswish()(paddle.to_tensor(x)).numpy()
    near = np.abs((x.astype(np.float64) + 3) * 255 / 6 % 1 - 0.5) < 1e-3  # a tie, where float32 may go to the other side
    np.testing.assert_allclose(got[~near], (x * gate / 255)[~near], rtol=1e-6, atol=1e-7)
    exact = x * np.clip(x.astype(np.float64) + 3, 0, 6) / 6
    assert (np.abs(got - exact) <= np.abs(x) / 510 + 1e-6).all()
    np.testing.assert_array_equal(got[x >= 3], x[x >= 3])
    assert not got[x <= -3.0].any()


def test_layers_and_functions_are_computed_on_integers_for_that_target_alone() -> None:
    net = made(plain)
    assert integer_activations_of(quantized(net)) == {"act", "hardswish#0"}
    for target in ("any", "openvino", "paddle_inference"):
        assert not integer_activations_of(quantized(net, target))
    assert sqnr(net, quantized(net)) > sqnr(net, quantized(net, "any")) - 1.5


def test_a_grid_per_channel_keeps_it_in_float() -> None:
    paddle.seed(3)
    layers = {"first": nn.Conv2D(3, 8, 3), "reader": nn.Conv2D(8, 8, 3, padding=1, groups=8), "last": nn.Conv2D(8, 4, 1)}
    net = Net(lambda net, x: net.last(net.reader(F.hardswish(net.first(x)))), **layers)
    spread(net.first, net.reader)
    assert not integer_activations_of(quantized(net))
    assert integer_activations_of(quantized(net, per_channel_activations=False)) == {"hardswish#0"}


def test_a_wider_grid_keeps_it_in_float() -> None:
    assert not integer_activations_of(quantized(made(plain), activation_quantizer=AbsmaxQuantizer(10)))


def test_float_again_copies_and_pickles() -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Conv2D(3, 8, 3), nn.Hardswish(), nn.Conv2D(8, 2, 1))
    model = quantized(net)
    x = data(2, 3, 12, 12, seed=5)
    assert relative(as_float(model)(x), net(x)) < 1e-6
    assert integer_activations_of(model) == {"1"}, "asking for the float model left the converted one alone"
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert relative(other(x), model(x)) == 0.0


def test_onnx_runtime_adds_and_multiplies_integers(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    model = quantized(made(shifted))
    x = data(4, 3, 12, 12, seed=7)
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "m"), formats=("jit", "onnx"), verbose=False)
    assert relative(answers_of(tmp_path / "m", x, tmp_path), model(x)) == 0.0
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), options, providers=["CPUExecutionProvider"])
    import onnx

    executed = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert not {"HardSwish", "HardSigmoid", "Add", "Mul"} & set(executed), executed
    assert (executed.count("QLinearAdd"), executed.count("QLinearMul"), executed.count("QLinearConv")) == (2, 2, 3)
    answer = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    expected = model(x).numpy()
    assert 10 * np.log10((expected**2).sum() / ((answer - expected) ** 2).sum()) > 40


@pytest.mark.parametrize("number", [0.7, -0.3, 0.001, 40.0])
def test_a_shift_is_whole_steps_and_the_rest_is_in_the_bias(number: float, tmp_path: Path) -> None:
    """Against sums in float64: what the grid takes, and what the convolution behind it adds, away from the border."""
    onnx = pytest.importorskip("onnx")
    net = made(shifted)
    net.number.set_value(paddle.to_tensor([number]))
    model = quantized(net, "any")
    (grid,) = (grid for site, grid in grids_of(model).items() if "input_shift" in grid._buffers)
    scale, missing = float(grid.input_scale), -float(grid.input_shift)
    assert abs(missing) <= scale / 2 * (1 + 1e-5)
    steps = (np.float64(number) - missing) / scale
    assert abs(steps - round(steps)) < 1e-3
    gains = model.middle.weight.numpy().astype(np.float64).sum(axis=(1, 2, 3))
    expected = net.middle.bias.numpy() + gains * missing
    step = scale * model.middle.weight_scale.numpy().reshape(-1)
    assert (np.abs(model.middle.bias.numpy() - expected) <= step / 2 * 1.01).all(), "on the grid of the sums"
    export_onnx(model, str(tmp_path / "m"))
    assert "Add" not in [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]


def test_shifts_cost_no_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    net = made(shifted)
    settled = sqnr(net, quantized(net, "any"))
    monkeypatch.setattr("ptq.convert.convert.settle_shifts", lambda *_: None)
    assert settled > sqnr(net, quantized(net, "any")) - 0.5


def test_the_bias_of_a_layer_without_one() -> None:
    net = made(shifted)
    net.middle = nn.Conv2D(8, 8, 3, padding=1, bias_attr=False)
    model = quantized(net, "any")
    assert net.middle.bias is None
    assert model.middle.bias is not None
    assert sqnr(net, model) > 29
