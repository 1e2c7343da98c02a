"""The demo runs from the command line, shows every figure, and loses no accuracy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

import ptq

pytest.importorskip("sklearn", reason="the demo's data comes with scikit-learn")

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("train", "quantize", "calibrate", "convert", "save and check", "load and answer, fresh process")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def process(folder: Path) -> subprocess.CompletedProcess[str]:
    """``python -m ptq demo``, run in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
    return subprocess.run(
        [sys.executable, "-m", "ptq", "demo"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def table(process: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The table's rows: name to the rest of the line."""
    assert process.returncode == 0, process.stderr[-2000:]
    lines = process.stdout.split("\n\n")[0].splitlines()
    rows = (re.split(r" {2,}", line, maxsplit=1) for line in lines[2:])
    return dict(rows)


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"[\d,]+\.?\d*", text)]


def test_table_has_every_row(table: dict[str, str]) -> None:
    figures = ["accuracy", "agreement with float", "logit SQNR", "parameter bytes", "layers quantized"]
    assert list(table) == [*figures, *(f"time: {step}" for step in STEPS)]


def test_accuracy_is_kept(table: dict[str, str]) -> None:
    float_accuracy, int8_accuracy = numbers(table["accuracy"])
    assert float_accuracy >= 97
    assert int8_accuracy >= float_accuracy - 1
    assert numbers(table["agreement with float"])[0] >= 98
    assert numbers(table["logit SQNR"])[0] >= 30


def test_every_compute_layer_is_quantized(table: dict[str, str]) -> None:
    assert table["layers quantized"].split(" / ") == ["5", "5"]


def test_bytes_are_those_of_the_files(table: dict[str, str], folder: Path) -> None:
    float_bytes, int8_bytes, ratio = numbers(table["parameter bytes"])
    output = folder / "demo-output"
    assert float_bytes == (output / "float.pdiparams").stat().st_size
    assert int8_bytes == (output / "int8.pdiparams").stat().st_size
    assert ratio == pytest.approx(float_bytes / int8_bytes, abs=0.005)
    assert ratio > 3.5


@pytest.mark.usefixtures("table")
def test_saved_models_load_and_agree(folder: Path) -> None:
    images = paddle.to_tensor(np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32))
    expected = paddle.jit.load(str(folder / "demo-output" / "float"))(images).numpy()
    answers = ptq.load(folder / "demo-output" / "int8")(images).numpy()
    assert np.abs(answers - expected).max() < 0.2 * np.abs(expected).max()


def test_the_last_line_says_where_the_models_are(process: subprocess.CompletedProcess[str]) -> None:
    assert process.stdout.splitlines()[-1].startswith("saved models: ")
