"""Runs a module of this package in a fresh Python process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from quantizers.errors import ArtifactError, ExportError

__all__ = ["run_module"]


def run_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What ``python -m module arguments...`` prints to its standard output.

    Raises:
        ExportError: the module raised one.
        ArtifactError: the process could not be started, or failed in another way.
    """
    if not sys.executable:
        raise ArtifactError(
            "a fresh process cannot be started: this program does not know its Python interpreter (sys.executable is empty)"
        )
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(Path(__file__).resolve().parents[2])]))
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        check=False,
    )
    if process.returncode == 0:
        return process.stdout
    lines = process.stderr.strip().splitlines()
    _, raised, message = lines[-1].partition("ExportError: ") if lines else ("", "", "")
    if raised:
        raise ExportError(message)
    raise ArtifactError(f"python -m {module} failed (exit {process.returncode}): {' | '.join(lines[-5:])}")
