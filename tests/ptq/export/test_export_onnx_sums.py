"""Residual sums of a transformer in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import paddle
import pytest
from models import calibrated, data
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import ImperativePTQ, PTQConfig
from ptq.runtimes.openvino import compiled

SPEC = [InputSpec([None, 6, 16], "float32")]


def _encoder(*, first: bool) -> nn.Layer:
    paddle.seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, activation="gelu", normalize_before=first)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.LayerNorm(16))
    model.eval()
    return model


@pytest.mark.parametrize("first", [False, True], ids=["norm last", "norm first"])
@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_sums_in_front_of_norms_are_not_taken_into_the_slow_kernel(tmp_path: Path, first: bool, way: str) -> None:
    model, x = _encoder(first=first), data(2, 6, 16)
    if way == "static":
        engine = ImperativePTQ()
        found = engine.convert(calibrated(model, x, config=PTQConfig(placement="full")))
        engine.save_quantized_model(found, str(tmp_path / "net"), SPEC, formats=("onnx",), verbose=False)
        answer = found(x).numpy()
    else:
        dynamic = ptq.quantize_dynamic(model)
        dynamic.save(tmp_path / "net", input_spec=SPEC, formats=("onnx",), verbose=False)
        answer = dynamic.model(x).numpy()
    file = str(tmp_path / "net.onnx")
    assert sum(node.op_type == "Sum" for node in onnx.load(file).graph.node) == 4
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    kernels = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert "LayerNormalization" in kernels
    assert "SkipLayerNormalization" not in kernels
    feed = {session.get_inputs()[0].name: x.numpy()}
    others = [session.run(None, feed)[0], np.asarray(compiled(file)(x.numpy())[0])]
    for other in others:
        assert np.square(other - answer).sum() < 1e-3 * np.square(answer).sum()
