"""Runs a module of this package in a fresh Python process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from quantizers.errors import ArtifactError, ExportError

__all__ = ["run_module", "start_module"]

ROOT = str(Path(__file__).resolve().parents[2])


def start_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments...``, finished; it finds this package, and no modules of the folder that the user works in.

    Paths among the arguments must be absolute: the process has an empty folder of its own.

    Raises:
        ArtifactError: there is no interpreter to start.
    """
    if not sys.executable:
        raise ArtifactError(
            "a fresh process cannot be started: this program does not know its Python interpreter (sys.executable is empty)"
        )
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), ROOT]))
    with tempfile.TemporaryDirectory(prefix="ptq-process-") as folder:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            cwd=folder,
            check=False,
        )


def run_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a module prints to its standard output, see `start_module`.

    Raises:
        ExportError: the module raised one.
        ArtifactError: the process could not be started, or failed in another way.
    """
    process = start_module(module, *arguments, environment=environment)
    if process.returncode == 0:
        return process.stdout
    lines = process.stderr.strip().splitlines()
    _, raised, message = lines[-1].partition("ExportError: ") if lines else ("", "", "")
    if raised:
        raise ExportError(message)
    raise ArtifactError(f"python -m {module} failed (exit {process.returncode}): {' | '.join(lines[-5:])}")
