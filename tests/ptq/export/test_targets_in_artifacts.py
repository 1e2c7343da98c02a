"""A PP-LCNet whose channels differ by hundreds, for each target: what it wins in memory, its runtime keeps, on the same int8 kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
from channel_cases import lcnet, sqnr
from cpus import WEIGHT_BITS
from models import calibrated, data
from paddle import nn
from target_cases import NETS, calibrated_net, converted_for

from ptq import PTQConfig
from ptq.export.save import save_artifact
from quantizers import PerChannelAbsmaxQuantizer

pytest.importorskip("onnx", reason="extra onnx")
RUNTIMES = {"onnxruntime": ("onnx", "ONNX Runtime"), "openvino": ("openvino", "OpenVINO"), "paddle_inference": ("inference", "Paddle")}


def _calibrated(per_channel: bool, weight_bits: int = 8) -> nn.Layer:
    rule = PerChannelAbsmaxQuantizer(weight_bits)
    config = PTQConfig(None, rule, placement="full", per_channel_activations=per_channel)
    return calibrated(lcnet(), data(16, 3, 24, 24), config=config)


@pytest.fixture(scope="module")
def model() -> nn.Layer:
    """The net under calibration."""
    return _calibrated(per_channel=True, weight_bits=WEIGHT_BITS)


def test_decibels_in_memory() -> None:
    net, model, one = lcnet(), _calibrated(per_channel=True), _calibrated(per_channel=False)
    for target, least in (("any", 18), ("onnxruntime", 18), ("openvino", 23), ("paddle_inference", 23)):
        found = sqnr(net, converted_for(model, target))
        assert found > least, target
        assert found > sqnr(net, converted_for(one, target)) + 10, target
    assert sqnr(net, converted_for(model, "openvino")) > sqnr(net, converted_for(model, "any")) + 3
    assert sqnr(net, converted_for(one, "openvino")) < 15


@pytest.mark.slow
@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("name", [None, *NETS])
def test_each_target_is_int8_in_its_runtime(model: nn.Layer, name: str | None, target: str, tmp_path: Path) -> None:
    """All but what it has no kernel for: transposed convolutions in ONNX Runtime."""
    converted = converted_for(model if name is None else calibrated_net(name, weight_bits=WEIGHT_BITS), target)
    kind, runtime = RUNTIMES[target]
    if (kind, name) == ("inference", "attending"):
        pytest.skip("the legacy format lacks its softmax between products")
    report = save_artifact(converted, str(tmp_path / "m"), None, (kind,))
    (found,) = (item for item in report.runtimes if item.runtime.startswith(runtime))
    floats = {kernel.op for kernel in found.kernels if not kernel.is_int8}
    assert floats <= ({"ConvTranspose"} if target == "onnxruntime" else set()) | ({"MatMul"} if name == "attending" else set())
    # there an eighth of an addition's values fall on the neighbouring step; the check has held each grid to that step, or raised
    assert found.sqnr_db > (20 if (name, target) == ("attending", "openvino") else 35)
