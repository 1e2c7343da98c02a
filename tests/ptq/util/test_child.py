"""Modules that run in processes of their own: one that never ends is stopped, and it is said which."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ptq.util import child
from quantizers.errors import ArtifactError


def test_a_module_answers() -> None:
    assert child.run_module("platform").strip()


@pytest.mark.xfail(strict=True, reason="a process is waited for without end")
def test_a_module_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    real = subprocess.run

    def run(command: Any, **options: Any) -> Any:
        given.append(options.get("timeout"))
        if options.get("timeout") is None:
            raise AssertionError("no time-out")
        return real([command[0], "-c", "import time; time.sleep(60)"], **{**options, "timeout": 0.2})

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ArtifactError, match=r"ptq\.export\.jit\.replay.*(seconds|minutes)"):
        child.run_module("ptq.export.jit.replay")
    assert 30 <= given[0] <= 3600
