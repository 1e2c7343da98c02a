"""Files whose check failed: refused, unless the user says that they are to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paddle
import pytest
from cpus import WEIGHT_BITS
from models import absmax, converted, data
from paddle import nn

from ptq import ImperativePTQ
from ptq.export import call as genuine
from ptq.export import export_inference, export_onnx
from ptq.export.manifest import read_manifest
from quantizers.errors import ConfigError, MismatchError, QuantizationWarning


@pytest.fixture(scope="module")
def model() -> nn.Layer:
    paddle.seed(0)
    return converted(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), data(8, 6), config=absmax(weight_bits=WEIGHT_BITS))


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model in memory seems to answer the opposite, and the portable files are not compared with it."""

    def opposite(layer: nn.Layer, arguments: Sequence[Any]) -> list[paddle.Tensor]:
        return [-answer for answer in genuine.answer_of(layer, arguments)]

    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    for module in ("save", "onnx.export"):
        monkeypatch.setattr(f"ptq.export.{module}.answer_of", opposite)


@pytest.mark.usefixtures("another")
def test_inference_files_are_refused_or_kept(model: nn.Layer, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"dB against the model in memory.*it was not kept.*on_mismatch='keep'"):
        export_inference(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())
    with pytest.warns(QuantizationWarning, match=r"kept although the check failed: .* dB against the model in memory"):
        report = export_inference(model, tmp_path / "m", on_mismatch="keep")
    (runtime,) = report.runtimes
    assert "dB against the model in memory" in runtime.mismatch
    assert "THE CHECK FAILED" in "\n".join(report.lines())
    assert Path(f"{tmp_path / 'm'}.infer.pdmodel").is_file()
    assert read_manifest(tmp_path / "m")["runtimes"][0]["mismatch"] == runtime.mismatch


@pytest.mark.usefixtures("another")
def test_an_onnx_file_is_refused_or_kept(model: nn.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "onnxruntime", "paddle2onnx"):
        pytest.importorskip(module)
    monkeypatch.setattr("ptq.export.onnx.check.has_openvino", lambda: False)  # it warns of its own
    with pytest.raises(MismatchError, match=r"another model.*not kept"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.warns(QuantizationWarning, match="kept although the check failed"):
        report = export_onnx(model, tmp_path / "m.onnx", on_mismatch="keep")
    assert "another model" in report.runtimes[0].mismatch
    assert (tmp_path / "m.onnx").is_file()


def test_portable_files_are_refused_or_kept(model: nn.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.export.check.replay", lambda _, inputs: [data(inputs[0].shape[0], 4, seed=5)])
    engine = ImperativePTQ()
    with pytest.raises(MismatchError, match="differs from the model in memory"):
        engine.save_quantized_model(model, str(tmp_path / "m"), verbose=False)
    assert not list(tmp_path.iterdir())
    with pytest.warns(QuantizationWarning, match="kept although the check failed"):
        engine.save_quantized_model(model, str(tmp_path / "m"), verbose=False, on_mismatch="keep")
    assert "differs from the model in memory" in read_manifest(tmp_path / "m")["mismatch"]


def test_a_check_that_passes_says_so(model: nn.Layer, tmp_path: Path) -> None:
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "m"), verbose=False, on_mismatch="keep")
    assert read_manifest(tmp_path / "m")["mismatch"] == ""


@pytest.mark.parametrize("wrong", ["ignore", None, True])
def test_another_word_is_refused(model: nn.Layer, tmp_path: Path, wrong: Any) -> None:
    for save in (ImperativePTQ().save_quantized_model, export_inference, export_onnx):
        with pytest.raises(ConfigError, match="on_mismatch must be 'raise' or 'keep'"):
            save(model, str(tmp_path / "m"), on_mismatch=wrong)
    assert not list(tmp_path.iterdir())
