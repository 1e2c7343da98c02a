"""On a processor without VNNI a right file is told from a wrong one, and the user is told what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_cases import HandQuantized, exported
from models import data

from ptq.export.inference import artifact, by_layer
from ptq.export.inference.artifact import check_inference
from ptq.export.onnx import check as onnx_check
from ptq.export.onnx.check import check_onnx, check_runtime
from ptq.export.onnx.halved import has_wide_weights
from ptq.runtimes.cpu import Cpu
from quantizers.errors import MismatchError, QuantizationWarning

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")
from onnx_cases import Other, Written  # noqa: E402 - needs onnx

OLD = Cpu("Old CPU", has_vnni=False)


def far(expected: np.ndarray) -> np.ndarray:
    """Answers at some 20 dB."""
    return expected + 0.1 * expected.std() * np.random.default_rng(0).standard_normal(expected.shape).astype("float32")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "this_cpu", lambda: OLD)
    monkeypatch.setattr(onnx_check, "this_cpu", lambda: OLD)
    monkeypatch.setattr(onnx_check, "has_openvino", lambda: False)


@pytest.mark.usefixtures("old")
def test_paddle_inference_saturates_and_the_file_is_right(tmp_path: Path) -> None:
    x = data(2, 3, 8, 8)
    (expected,) = exported(HandQuantized(77, largest=127), tmp_path / "m", x)
    with pytest.warns(QuantizationWarning, match=r"Old CPU.* no VNNI.*saturate.*PerChannelAbsmaxQuantizer\(7\)"):
        (report,) = check_inference(str(tmp_path / "m"), [x.numpy()], [far(expected)])
    told, compared = report.notes
    assert "Old CPU" in told
    assert "halved to 7 bits" in compared
    assert "each of 3 grids is within one step" in compared
    assert not report.mismatch


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("largest", [127, 63])
def test_a_wrong_layer_of_paddle_inference_is_still_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    x = data(2, 3, 8, 8)
    (expected,) = exported(HandQuantized(77, largest=largest), tmp_path / "m", x)
    genuine = by_layer.run_once

    def wrong(files: tuple[str, str], inputs: list[np.ndarray]) -> list[np.ndarray]:
        found = genuine(files, inputs)
        return [found[0], found[1] + 2 * 0.05, *found[2:]]

    monkeypatch.setattr(by_layer, "run_once", wrong)
    with pytest.raises(MismatchError, match=r"2\.0 steps"):
        check_inference(str(tmp_path / "m"), [x.numpy()], [far(expected)])


@pytest.mark.usefixtures("old")
def test_weights_of_7_bits_are_judged_as_everywhere(tmp_path: Path) -> None:
    x = data(2, 3, 8, 8)
    (expected,) = exported(HandQuantized(77, largest=63), tmp_path / "m", x)
    with pytest.raises(MismatchError, match="dB against the model in memory"):
        check_inference(str(tmp_path / "m"), [x.numpy()], [-expected])


@pytest.mark.usefixtures("old")
def test_onnx_runtime_is_checked_in_its_exact_setting(tmp_path: Path) -> None:
    for bits, wide in ((8, True), (7, False)):
        written = Written(tmp_path, weight_bits=bits)
        (report,) = check_onnx(written.file, written.inputs, written.expected, written.simulated)
        assert report.sqnr_db > 35
        assert report.int8_share == 1
        assert has_wide_weights(onnx.load(str(written.file))) is wide
        assert ("Old CPU" in "\n".join(report.notes) and "session.x64quantprecision=1" in "\n".join(report.notes)) is wide


class Saturating(Other):
    """Computes as it should only where weights are narrow."""

    def run(self, model: bytes, inputs: Any, plain: bool = False) -> dict[str, np.ndarray]:
        answers = super().run(model, inputs, plain)
        is_wide = has_wide_weights(onnx.load_from_string(model))
        return {name: far(array) if is_wide and array.dtype == np.float32 else array for name, array in answers.items()}


def test_a_saturating_runtime_is_told_from_a_wrong_file(tmp_path: Path) -> None:
    written = Written(tmp_path, weight_bits=8)

    def report(file: Path) -> Any:
        model = onnx.load(str(file))
        given = {model.graph.input[0].name: written.inputs[0]}
        return check_runtime(str(file), model, Saturating(), given, written.expected, written.simulated, saturates=True)

    with pytest.warns(QuantizationWarning, match=r"no VNNI.*Other Runtime saturate"):
        right = report(written.file)
    assert not right.mismatch
    assert "halved to 7 bits" in "\n".join(right.notes)
    wrong = written.changed(tmp_path, lambda name, array: np.flip(array, 2).copy() if name == "b.weight_quantized" else array)
    assert "differently" in report(wrong).mismatch
