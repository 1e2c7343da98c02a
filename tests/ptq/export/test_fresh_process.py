"""Saving works from every kind of program: the check in a fresh process must not run the user's script again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fresh import ROOT, run_python, script

# no `if __name__ == "__main__"`: with multiprocessing's spawn it would run again in the child
PROGRAM = """
import os, warnings
warnings.simplefilter("ignore")
import numpy, paddle
from paddle.static import InputSpec
with open("runs", "a") as file:
    file.write("x")
from ptq import ImperativePTQ
engine = ImperativePTQ()
model = engine.quantize(paddle.nn.Sequential(paddle.nn.Linear(4, 4), paddle.nn.ReLU()))
model(paddle.to_tensor(numpy.random.default_rng(0).standard_normal((8, 4)), dtype="float32"))
engine.save_quantized_model(model, "out/model")
print("saved", len(os.listdir("out")))
"""


def _saved(folder: Path, process: subprocess.CompletedProcess[str]) -> None:
    assert process.returncode == 0, process.stderr
    assert "saved 4" in process.stdout
    assert (folder / "runs").read_text(encoding="utf-8") == "x"  # the program ran once
    assert sorted(os.listdir(folder / "out")) == ["model.json", "model.pdiparams", "model.ptq.coverage.json", "model.ptq.json"]


def test_script_without_main_guard(tmp_path: Path) -> None:
    _saved(tmp_path, run_python([script(tmp_path, PROGRAM).name], cwd=tmp_path))


def test_exec(tmp_path: Path) -> None:
    """`exec` of a string: there is no file that a child could import."""
    source = script(tmp_path, PROGRAM).read_text(encoding="utf-8")
    (tmp_path / "script.py").unlink()
    _saved(tmp_path, run_python(["-c", f"exec({source!r})"], cwd=tmp_path))


def test_program_read_from_standard_input(tmp_path: Path) -> None:
    source = script(tmp_path, PROGRAM).read_text(encoding="utf-8")
    (tmp_path / "script.py").unlink()
    _saved(tmp_path, run_python(["-"], cwd=tmp_path, input=source))


@pytest.mark.skipif(os.name != "posix", reason="closes file descriptors by a shell")
@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-"], ids=["stdin", "stdin and stderr"])
def test_closed_standard_streams(tmp_path: Path, closed: str) -> None:
    path = script(tmp_path, PROGRAM)
    command = f"exec {sys.executable} -W ignore {path} {closed}"
    process = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    process.stderr = process.stderr[-3000:]
    _saved(tmp_path, process)


def test_modules_of_the_users_folder_are_not_taken_for_ours(tmp_path: Path) -> None:
    """A ``quantizers.py`` beside the user's script must not be imported by the process that checks."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "work" / "numpy.py").write_text("raise RuntimeError('the wrong numpy')", encoding="utf-8")
    path = script(tmp_path, PROGRAM)
    process = run_python([str(path)], cwd=folder)
    _saved(folder, process)


def test_project_found_by_pythonpath_only(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(f"import sys\n{PROGRAM}", encoding="utf-8")
    process = run_python([str(path)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    _saved(tmp_path, process)
