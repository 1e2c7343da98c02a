"""The blocks of docs/training.md run, and its commands and settings exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ptq.cli import _parser
from ptq.training.config import FOLDS
from ptq.training.grids import ACTIVATIONS, WEIGHTS

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_python_blocks_are_one_program_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "training.md", "exec"), names)
    assert (tmp_path / "int8" / "model.json").is_file()


def test_the_commands_are_understood() -> None:
    for line in "".join(blocks("bash")).splitlines():
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "ptq"]
        assert _parser().parse_args(words[3:]).run


def test_every_kind_is_named() -> None:
    for name in (*ACTIVATIONS, *WEIGHTS, *(fold for fold in FOLDS if fold)):
        assert f"`{name}`" in TEXT or f'`"{name}"`' in TEXT
