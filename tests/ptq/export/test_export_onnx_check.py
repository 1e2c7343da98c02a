"""The self-check of ONNX files: a wrong layer is found and named, flipped roundings are not taken for one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptq.export.onnx import check as onnx_check
from ptq.export.onnx.check import check_onnx
from quantizers.errors import ArtifactError, MismatchError, QuantizationWarning

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")
from onnx_cases import Other, Written  # noqa: E402 - needs onnx


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("check"))


@pytest.fixture(autouse=True)
def only_onnxruntime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "others" not in request.fixturenames:
        monkeypatch.setattr(onnx_check, "has_openvino", lambda: False)


def _check_with(monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
    """Puts another runtime in the place of OpenVINO, in this process."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr(onnx_check, "has_openvino", lambda: True)
    monkeypatch.setattr(
        onnx_check,
        "check_apart",
        lambda file, inputs, expected, simulated, *_: onnx_check.check_runtime(file, onnx.load(file), runtime, inputs, expected, simulated),
    )


def test_a_right_file_passes(written: Written) -> None:
    (report,) = check_onnx(written.file, written.inputs, written.expected, written.simulated)
    assert report.sqnr_db > 35
    assert report.int8_share == 1


def test_a_wrong_layer_is_named(written: Written, tmp_path: Path) -> None:
    file = written.changed(tmp_path, lambda name, array: np.flip(array, 2).copy() if name == "b.weight_quantized" else array)
    with pytest.raises(MismatchError, match=r"computes (b|relu#1) differently"):
        check_onnx(file, written.inputs, written.expected, written.simulated)


def test_flipped_roundings_are_told_from_a_wrong_layer(written: Written) -> None:
    (expected,) = written.expected
    noise = np.random.default_rng(0).standard_normal(expected.shape).astype(np.float32) * expected.std() * 0.03
    (report,) = check_onnx(written.file, written.inputs, [expected + noise], written.simulated)
    assert report.sqnr_db < 35
    assert "within one step" in "\n".join(report.notes)


def test_a_conversion_to_another_model_is_found(written: Written) -> None:
    other = np.random.default_rng(0).standard_normal(written.expected[0].shape).astype(np.float32)
    with pytest.raises(MismatchError, match="paddle2onnx made another model"):
        check_onnx(written.file, written.inputs, [other], written.simulated)


def test_wrong_shapes_and_counts(written: Written) -> None:
    with pytest.raises(MismatchError, match="shapes"):
        check_onnx(written.file, written.inputs, [written.expected[0][:, :1]], written.simulated)
    with pytest.raises(MismatchError, match="takes 1 inputs"):
        check_onnx(written.file, written.inputs * 2, written.expected, written.simulated)


@pytest.mark.usefixtures("others")
def test_another_runtime_that_is_wrong_only_warns(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Other):
        def run(self, model: bytes, inputs: Any, plain: bool = False) -> dict[str, np.ndarray]:
            answers = super().run(model, inputs, plain)
            return {name: -array for name, array in answers.items()}

    _check_with(monkeypatch, Wrong())
    with pytest.warns(QuantizationWarning, match="do not use this file with Other Runtime"):
        right, wrong = check_onnx(written.file, written.inputs, written.expected, written.simulated)
    assert right.sqnr_db > 35
    assert not right.mismatch
    assert wrong.sqnr_db < 0
    assert "differently" in wrong.mismatch
    assert "THE CHECK FAILED" in "\n".join(wrong.lines())


@pytest.mark.usefixtures("others")
def test_layers_that_differ_in_another_runtime_warn_and_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison whose failure nobody is told of is none, however near the answers are."""

    class Halved(Other):
        def run(self, model: bytes, inputs: Any, plain: bool = False) -> dict[str, np.ndarray]:
            answers = super().run(model, inputs, plain)
            rounded = {name: np.round(array, 1) for name, array in answers.items() if array.dtype == np.float32}
            return {name: rounded.get(name, array // 2) for name, array in answers.items()}

    written = Written(tmp_path)
    _check_with(monkeypatch, Halved())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, report = check_onnx(written.file, written.inputs, written.expected, written.simulated)
    assert 3 < report.sqnr_db < 35
    told = [str(item.message) for item in caught if issubclass(item.category, QuantizationWarning)]
    assert "differently" in report.mismatch
    assert any("do not use this file" in text and "differently" in text for text in told)


@pytest.fixture
def others() -> None:
    """Asks for the other runtimes not to be taken away."""


@pytest.mark.usefixtures("others")
def test_openvino_runs_all_layers_in_int8(written: Written) -> None:
    pytest.importorskip("openvino")
    _, report = check_onnx(written.file, written.inputs, written.expected, written.simulated)
    assert report.runtime == "OpenVINO"
    assert report.sqnr_db > 35
    assert [kernel.is_int8 for kernel in report.kernels] == [True] * 3


@pytest.mark.usefixtures("others")
def test_openvino_is_asked_in_a_process_of_its_own(written: Written) -> None:
    pytest.importorskip("openvino")
    right, apart = check_onnx(written.file, written.inputs, written.expected, written.simulated)
    assert (right.runtime, apart.runtime) == ("ONNX Runtime", "OpenVINO")
    assert apart.sqnr_db > 35
    assert apart.int8_share == 1


@pytest.mark.usefixtures("others")
def test_a_runtime_that_ends_its_process_only_warns(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr("ptq.export.onnx.apart.run_module", _dies)
    with pytest.warns(QuantizationWarning, match=r"OpenVINO fails on it .*exit -11"):
        _, report = check_onnx(written.file, written.inputs, written.expected, written.simulated)
    assert report.sqnr_db == float("-inf")


def _dies(module: str, *_: str) -> str:
    raise ArtifactError(f"python -m {module} failed (exit -11): ")
