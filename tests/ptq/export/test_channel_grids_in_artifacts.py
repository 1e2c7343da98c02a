"""Grids per channel in every format: the same answers as in memory, and the same int8 kernels as with one range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from channel_cases import lcnet, quantized, sqnr
from cpus import WEIGHT_BITS
from fresh import answers_of
from models import data, relative

from ptq import ImperativePTQ
from ptq.calibration.state import state_of
from ptq.export import export_onnx
from quantizers import KLQuantizer, PerChannelAbsmaxQuantizer

onnx = pytest.importorskip("onnx", reason="extra onnx")


def saved(act: Any, prefix: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[Any, str]:
    """The model at placement full, and what saving it in all formats reports."""
    rules = {"activation_quantizer": KLQuantizer(), "weight_quantizer": PerChannelAbsmaxQuantizer(WEIGHT_BITS)}
    model = quantized(lcnet(act), "full", **rules, **options)
    ImperativePTQ().save_quantized_model(model, str(prefix), formats=("jit", "onnx", "inference"))
    return model, capsys.readouterr().out


@pytest.mark.parametrize("act", [F.relu, F.relu6, F.hardswish], ids=["relu", "relu6", "hardswish"])
def test_every_runtime_computes_all_of_it_in_int8(act: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, report = saved(act, tmp_path / "m", capsys)
    assert state_of(model).traced.channels
    assert report.count("int8 7/7 Conv, 1/1 Gemm") == 2, report  # ONNX Runtime, OpenVINO
    assert "int8 4/4 conv2d, 3/3 depthwise_conv2d, 1/1 matmul_v2" in report, report
    x = data(4, 3, 24, 24, seed=1)
    answer = answers_of(tmp_path / "m", x, tmp_path)
    assert relative(answer, model(x)) == 0.0


def test_multiplications_stand_only_where_no_weights_can_take_the_ratios(tmp_path: Path) -> None:
    """By the operations of the files: none after a ReLU or a ReLU6, two for each HardSwish of one range otherwise."""
    counts, factors = {}, 0
    off = {"per_channel_activations": False}
    for name, act, options in (("relu", F.relu, {}), ("relu6", F.relu6, {}), ("hardswish", F.hardswish, {}), ("one", F.hardswish, off)):
        model = quantized(lcnet(act), "full", weight_quantizer=PerChannelAbsmaxQuantizer(WEIGHT_BITS), **options)
        export_onnx(model, str(tmp_path / name))
        found = [buffer for layer in model.sublayers() for buffer in layer._buffers if buffer in ("input_factor", "output_factor")]
        factors = len(found) if name == "hardswish" else factors
        counts[name] = [node.op_type for node in onnx.load(tmp_path / f"{name}.onnx").graph.node].count("Mul")
    assert counts["relu"] == counts["relu6"] == 0
    assert counts["hardswish"] - counts["one"] == factors >= 6  # three depthwise inputs, and the three results before their activations


@pytest.mark.slow
def test_the_artifact_keeps_what_they_win(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = lcnet(F.hardswish)
    model, _ = saved(F.hardswish, tmp_path / "m", capsys)
    one, _ = saved(F.hardswish, tmp_path / "one", capsys, per_channel_activations=False)
    assert sqnr(net, model) > sqnr(net, one) + 10
