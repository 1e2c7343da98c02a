"""Targets: which grids each runtime gets, from one calibration; what is left out stays as it was computed."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import calibrated, data, relative, small_net
from paddle import nn
from placement_cases import BLOCKS, RESNET20_GRIDS, full
from target_cases import NETS, SHAPE, calibrated_net, converted_for

import ptq
from benchmarks.real_nets import ResNet20
from ptq import Calibration, ImperativePTQ, PTQConfig
from ptq.config.config import TARGET_NAMES
from ptq.convert import channel_choice
from ptq.layers import QuantizedLayer
from ptq.layers.gridded import grids_of
from ptq.placement.targets import TARGETS
from quantizers.errors import ConfigError

OTHERS = [name for name in TARGET_NAMES if name != "any"]


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Layer]:
    """The nets, calibrated once."""
    return {name: calibrated_net(name) for name in NETS}


def _sites(model: nn.Layer) -> set[str]:
    return set(grids_of(model))


def test_the_table_has_what_a_config_takes() -> None:
    assert tuple(TARGETS) == TARGET_NAMES
    assert all(target.name == name for name, target in TARGETS.items())


@pytest.mark.parametrize("name", NETS)
def test_any_has_the_grids_of_all(models: dict[str, nn.Layer], name: str) -> None:
    """What is calibrated is what ``any`` needs; so one calibration serves every target."""
    every = _sites(models[name])
    assert _sites(converted_for(models[name], "any")) == _sites(converted_for(models[name], None)) == every
    for target in OTHERS:
        assert _sites(converted_for(models[name], target)) <= every
    assert _sites(converted_for(models[name], "openvino")) < every


def test_openvino_in_resnet20_by_name() -> None:
    model = calibrated(ResNet20(), data(2, 3, 32, 32), config=full(), fuse=True)
    results = {"linear", *(f"{block}.conv2" for block in BLOCKS)}
    assert _sites(converted_for(model, "openvino")) == RESNET20_GRIDS - results
    assert _sites(converted_for(model, "onnxruntime")) == RESNET20_GRIDS - {"linear"}


# what goes through memory to several readers, or to a pool, has a grid; what is computed in one go has none
EXPECTED = {
    ("squeezed", "openvino"): {"input#0", "relu#0", "hardswish#0", "adaptive_avg_pool2d#0", "relu#1", "add#0"},
    ("joined", "openvino"): {"input#0", "concat#0", "relu#1"},
    ("joined", "onnxruntime"): {"input#0", "relu#0", "right", "concat#0", "relu#1"},
    ("attending", "openvino"): {"input#0", "b", "add#0", "subtract#0"},
    ("attending", "onnxruntime"): {"input#0", "a", "b", "add#0", "softmax#0", "subtract#0"},
}


@pytest.mark.parametrize(("name", "target"), EXPECTED)
def test_grids_by_name(models: dict[str, nn.Layer], name: str, target: str) -> None:
    found = {site.replace("pool2d#0", "adaptive_avg_pool2d#0") for site in _sites(converted_for(models[name], target))}
    assert found == EXPECTED[name, target]


@pytest.mark.parametrize("target", OTHERS)
@pytest.mark.parametrize("name", ["residual", "hardswish"])
def test_convert_for_a_target_is_the_config_for_it(models: dict[str, nn.Layer], name: str, target: str, tmp_path: Path) -> None:
    x = data(*SHAPE, seed=3)
    with paddle.no_grad():
        expected = converted_for(models[name], target)(x).numpy()
        own = calibrated(NETS[name](), data(*SHAPE), config=_full_for(target), fuse=True)
        np.testing.assert_array_equal(ImperativePTQ().convert(own)(x).numpy(), expected)
        Calibration.of(models[name]).save(tmp_path / "calibration")
        other = ImperativePTQ(_full_for(target)).quantize(NETS[name](), fuse=True)
        Calibration.load(tmp_path / "calibration").apply(other)
        np.testing.assert_array_equal(ImperativePTQ().convert(other)(x).numpy(), expected)


def _full_for(target: str) -> PTQConfig:
    rule = full()
    return PTQConfig(rule.in_act_quantizer, rule.wt_quantizer, placement="full", target=target)


def _results(model: nn.Layer, name: str, x: paddle.Tensor) -> np.ndarray:
    found: list[np.ndarray] = []
    layer = dict(model.named_sublayers())[name]
    handle = layer.register_forward_post_hook(lambda _layer, _args, out: found.append(out.numpy()))
    with paddle.no_grad():
        model(x)
    handle.remove()
    return found[0]


def test_what_is_left_out_is_not_rounded(models: dict[str, nn.Layer]) -> None:
    """Against numpy: the addition reads what the convolution computed."""
    model, x = converted_for(models["residual"], "openvino"), data(*SHAPE, seed=1)
    conv2, grid = _results(model, "conv2", x), grids_of(model)
    shortcut = _results(model, "activation_grids.relu#0", x)
    scale, zero_point = (float(getattr(grid["relu"], f"input_{part}")) for part in ("scale", "zero_point"))
    summed = np.maximum(conv2.astype(np.float64) + shortcut, 0)
    expected = (np.clip(np.rint(summed / scale) + zero_point, 0, 255) - zero_point) * scale
    found = _results(model, "activation_grids.relu", x)
    assert np.mean(np.abs(found - expected) > scale / 2) < 1e-3  # a sum at a half may fall to either side
    steps = summed / float(grid["relu#0"].input_scale)
    assert np.mean(np.abs(steps - np.rint(steps)) > 1e-3) > 0.5


def test_a_transposed_convolution_that_the_runtime_computes_in_float_reads_floats() -> None:
    net = nn.Sequential(nn.Conv2DTranspose(3, 4, 2, stride=2), nn.Conv2DTranspose(4, 2, 2, stride=2))
    model = calibrated(net, data(*SHAPE), config=full())
    for_ort, for_any = (converted_for(model, target) for target in ("onnxruntime", "any"))
    x = data(*SHAPE, seed=2)
    assert not grids_of(for_ort)
    assert {"input#0", "0", "1"} == _sites(for_any)
    assert all(layer.input_qparams is None for layer in for_ort.sublayers() if isinstance(layer, QuantizedLayer))
    expected = x
    for layer in for_ort.children():
        if isinstance(layer, nn.Conv2DTranspose):
            expected = nn.functional.conv2d_transpose(expected, layer.weight, layer.bias, stride=2)
    with paddle.no_grad():
        assert relative(for_ort(x), expected) < 1e-6


def test_an_override_of_a_grid_that_the_target_leaves_out_is_no_mistake() -> None:
    config = PTQConfig(placement="full", target="openvino", overrides={"conv2": ptq.QuantOverride(activation_bits=4), "relu#0": None})
    model = ImperativePTQ().convert(calibrated(small_net(), data(4, 3, 6, 6), config=config, fuse=True))
    assert _sites(model) == {"input#0", "relu", "pool"}
    assert dict(model.named_sublayers())["conv2"].input_qparams.num_bits == 4


def test_copies_and_pickles_know_their_target(models: dict[str, nn.Layer]) -> None:
    model = converted_for(models["residual"], "openvino")
    rows = ptq.coverage(model).rows
    x = data(*SHAPE, seed=1)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert ptq.coverage(other).rows == rows
        with paddle.no_grad():
            np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())


def test_the_calibrated_model_stays_as_it_was_when_a_target_is_refused(models: dict[str, nn.Layer]) -> None:
    for target in ("tpu", ["any"], 1):
        with pytest.raises(ConfigError, match="target must be one of any, onnxruntime, openvino, paddle_inference"):
            converted_for(models["residual"], target)  # type: ignore[arg-type]
    compute = calibrated(small_net(), data(4, 3, 6, 6))
    with pytest.raises(ConfigError, match="target='openvino' says which grids placement 'full' sets"):
        ImperativePTQ().convert(compute, target="openvino")
    with pytest.raises(ConfigError, match="placement is 'compute'"):
        PTQConfig(target="onnxruntime")
    assert ImperativePTQ().convert(compute) is compute


def test_the_ledger_of_openvino(models: dict[str, nn.Layer]) -> None:
    def states(name: str, target: str) -> dict[str, Any]:
        return {row.site: (row.state, row.reason) for row in ptq.coverage(converted_for(models[name], target)).rows}

    residual = states("residual", "openvino")
    assert residual["add#0"] == ("transparent", "merged into conv2")
    assert residual["relu"] == ("transparent", "merged into add#0")
    assert residual["pool"] == ("int8", "")
    squeezed = states("squeezed", "openvino")
    assert squeezed["hardswish#0"] == ("transparent", "merged into dw")
    assert squeezed["add#0"] == ("transparent", "merged into multiply#0")
    assert {squeezed[name][0] for name in ("stem", "dw", "down", "up", "last")} == {"int8"}


def test_in_one_call() -> None:
    net, batch = small_net(), data(4, 3, 6, 6)
    result = ptq.quantize_model(net, [batch], full(), target="openvino")
    assert (result.report.target, result.report.to_dict()["target"]) == ("openvino", "openvino")
    assert "placement full for openvino, calibrated" in str(result.report)
    assert _sites(result.model) == {"input#0", "relu#0", "relu", "pool"}
    with pytest.raises(ConfigError, match="pass 'full'"):
        ptq.quantize_model(net, [batch], target="openvino")
    with pytest.raises(ConfigError, match="target must be one of"):
        ptq.quantize_model(net, [batch], placement="full", target="gpu")


def test_where_factors_are_free_they_need_no_large_gain(models: dict[str, nn.Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the factors in front of grids: none where a gain of 1000 dB is asked for, all of them where a factor costs nothing."""
    dear = {"factor_worth": 1000.0, "dense_worth": 1000.0}
    asking = {name: replace(target, **dear) if target.factor_worth else target for name, target in TARGETS.items()}
    monkeypatch.setattr(channel_choice, "TARGETS", asking)
    counts = {}
    for target in TARGET_NAMES:
        grids = grids_of(converted_for(models["hardswish"], target)).values()
        counts[target] = sum("input_factor" in grid._buffers for grid in grids)
    assert counts == {"any": 0, "onnxruntime": 0, "openvino": 7, "paddle_inference": 7}
