"""Two saved models held against each other: figures as NumPy computes them, layers paired."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import absmax, data
from saved_nets import TwoInputs, save_net, without_checks

import ptq
from ptq.reports.compare import compare, open_saved
from ptq.reports.compare.difference import Apart, agreement_axis
from quantizers.errors import ArtifactError, CalibrationError, ConfigError, MismatchError, NoCalibrationDataError, ProgramError

BATCHES = [{"pic": data(4, 3, 12, 12, seed=seed).numpy()} for seed in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``net``, a saved program; ``int8`` and ``float_int8``, made of it with placement full; ``other``, another net."""
    path = tmp_path_factory.mktemp("compared")
    paddle.seed(0)
    save_net(path / "net")
    save_net(path / "other", net=TwoInputs())
    with pytest.MonkeyPatch.context() as patch:
        without_checks(patch)
        ptq.quantize_model(path / "net", BATCHES, absmax(), placement="full").save(path / "int8", verbose=False, float_baseline=True)
    return path


def test_outputs_are_apart_as_numpy_says(folder: Path) -> None:
    report = compare(open_saved(folder / "net"), open_saved(folder / "int8"), BATCHES, progress=False)
    x = paddle.to_tensor(np.concatenate([batch["pic"] for batch in BATCHES]))
    with paddle.no_grad():
        a, b = ptq.load_program(folder / "net")(x).numpy(), ptq.load(folder / "int8")(x).numpy()
    (found,) = report.outputs
    assert report.samples == 8
    assert found.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), abs=1e-3)
    assert found.largest_difference == pytest.approx(np.abs(a - b).max(), rel=1e-4)
    assert found.agreement == (a.argmax(-1) == b.argmax(-1)).mean()
    assert report.sqnr_db == found.sqnr_db > 20


@pytest.mark.parametrize("first", ["net", "float_int8"])
def test_layers_of_a_quantized_model_are_paired_with_those_of_its_float_program(folder: Path, first: str) -> None:
    report = compare(open_saved(folder / first), open_saved(folder / "int8"), BATCHES, progress=False)
    assert len(report.layers) == 3, report.note
    assert [layer.shape for layer in report.layers] == [(8, 10, 10), (8, 4, 4), (4,)]
    assert all(20 < layer.sqnr_db < 80 for layer in report.layers)
    assert all(layer.agreement is None for layer in report.layers)


def test_a_net_is_equal_to_itself(folder: Path) -> None:
    report = compare(open_saved(folder / "net"), open_saved(folder / "net"), BATCHES, progress=False)
    assert [item.sqnr_db for item in (*report.outputs, *report.layers)] == [float("inf")] * 4


def test_onnx_files_answer_without_layers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checks(monkeypatch)
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    ptq.quantize_model(folder / "net", BATCHES, absmax(), placement="full").save(tmp_path / "int8", ("jit", "onnx"), verbose=False)
    report = compare(open_saved(folder / "net"), open_saved(tmp_path / "int8.onnx"), BATCHES, progress=False)
    assert report.sqnr_db > 20
    assert not report.layers
    assert "int8.onnx (ONNX model) is not opened as layers" in report.note
    turned = compare(open_saved(tmp_path / "int8.onnx"), open_saved(tmp_path / "int8"), BATCHES, progress=False)
    assert turned.sqnr_db > 30


def test_the_report_for_people_and_programs(folder: Path, tmp_path: Path) -> None:
    report = compare(open_saved(folder / "net"), open_saved(folder / "int8"), BATCHES, progress=False)
    assert "layer by layer" in str(report)
    assert "Sequential" in str(report)
    assert "Linear" in str(report)
    report.to_json(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["outputs"][0]["sqnr_db"] == pytest.approx(report.sqnr_db)
    same = compare(open_saved(folder / "net"), open_saved(folder / "net"), BATCHES, progress=False)
    assert same.to_dict()["outputs"][0]["sqnr_db"] == "inf"


@pytest.mark.parametrize(
    ("pair", "batches", "error", "says"),
    [
        (("net", "other"), BATCHES, MismatchError, "takes 1 inputs, .*other 2: they are not the same net"),
        (("net", "int8"), [], NoCalibrationDataError, "yields no batch"),
        (("net", "int8"), [{"x": 1}], CalibrationError, "batch 0 has x, but .*net takes pic"),
        (("net", "int8"), ["text"], CalibrationError, "batch 0 is nothing that arrays can be made of"),
        (("net", "int8"), [data(4, 2, 12, 12).numpy()], MismatchError, r"net fails on float32 \[4, 2, 12, 12\]"),
        (("other", "other"), [(data(4, 6).numpy(),)], MismatchError, "takes 2 inputs, the data has 1"),
    ],
)
def test_what_cannot_be_compared(folder: Path, pair: tuple[str, str], batches: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        compare(*(open_saved(folder / name) for name in pair), batches, progress=False)
    assert type(raised.value) is error


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="path of a saved model is needed, got 3"):
        open_saved(3)  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match="there is no saved program"):
        open_saved(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"there is no ONNX file .*nowhere\.onnx"):
        open_saved(tmp_path / "nowhere.onnx")
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("no model", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"text\.onnx cannot be opened by ONNX Runtime"):
        open_saved(tmp_path / "text.onnx")


def test_only_one_finite_is_told() -> None:
    apart = Apart("x")
    apart.add(np.ones((2, 3)), np.array([[1, np.nan, 1], [1, 1, 1]]))
    assert apart.finished().sqnr_db == float("-inf")


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 10), 1), ((4, 1), None), ((4, 7, 10), 2), ((4, 5, 8, 8), 1), ((4, 1, 8, 8), None), ((4,), None)]
)
def test_where_the_largest_value_is_an_answer(shape: tuple[int, ...], axis: int | None) -> None:
    assert agreement_axis(shape) == axis
