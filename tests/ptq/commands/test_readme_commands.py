"""The commands of the README that work on a saved model, one after the other as a reader types them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from saved_nets import pictures, run_command, save_net, without_checks

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = re.findall(
    r"^python -m ptq ((?:check|quantize|coverage|compare) .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_they_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without_checks(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("inference").mkdir()
    save_net(tmp_path / "inference" / "model")
    pictures(tmp_path / "pictures", 8)
    assert {command.split()[0] for command in COMMANDS} == {"check", "quantize", "coverage", "compare"}
    for command in COMMANDS:
        assert run_command(*shlex.split(command)) == 0
        captured = capsys.readouterr()
        assert captured.out.strip()
        assert "warning" not in captured.err
