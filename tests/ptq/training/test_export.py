"""What was trained in the files: portable at once, and in all runtimes where these are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from training_cases import decibels, trained

import ptq
from ptq.qat import QATConfig, convert


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_the_portable_program_answers_as_the_model_in_memory(tmp_path: Path, placement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    model, x = trained(QATConfig("lsq+", placement=placement, weight_bits=4))
    after = convert(model)
    ptq.ImperativePTQ().save_quantized_model(after, str(tmp_path / "m"), verbose=False)
    with paddle.no_grad():
        assert paddle.equal_all(ptq.load(str(tmp_path / "m"))(x), after(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        QATConfig("lsq", fuse="training"),
        QATConfig("moving_average_abs_max", "abs_max", placement="full"),
        QATConfig("lsq+", placement="full"),
    ],
    ids=["compute", "full", "offsets"],
)
def test_every_runtime_answers_as_the_model_in_training(tmp_path: Path, config: QATConfig) -> None:
    onnxruntime, openvino = pytest.importorskip("onnxruntime"), pytest.importorskip("openvino")
    model, x = trained(config)
    # saving runs every format with its runtime, and raises where one answers otherwise than it should
    ptq.ImperativePTQ().save_quantized_model(convert(model), str(tmp_path / "m"), formats=("jit", "onnx", "inference"), verbose=False)
    with paddle.no_grad():
        expected = model(x)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    by_openvino = openvino.Core().compile_model(str(tmp_path / "m.onnx"), "CPU")(x.numpy())[0]
    for found in (by_onnx, by_openvino):
        assert decibels(paddle.to_tensor(np.asarray(found)), expected) >= 35
