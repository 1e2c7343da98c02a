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
# Far more than any of these processes has been seen to take: what is still running then has hung.
TIMEOUT = 3600.0


def start_module(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments...``, finished; it finds this package, and no modules of the folder that the user works in.

    Paths among the arguments must be absolute: the process has an empty folder of its own.  After ``timeout`` seconds it is ended.

    Raises:
        ArtifactError: there is no interpreter to start, or the process did not end in time.
    """
    if not sys.executable:
        raise ArtifactError(
            "a fresh process cannot be started: this program does not know its Python interpreter (sys.executable is empty)"
        )
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), ROOT]))
    with tempfile.TemporaryDirectory(prefix="ptq-process-") as folder:
        try:
            return subprocess.run(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, "PYTHONPATH": path, **(environment or {})},
                cwd=folder,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise ArtifactError(
                f"python -m {module} was ended: it had not finished after {timeout / 60:.0f} minutes, so it hangs, or this machine is far "
                "too busy; try again, with a smaller model or example batch"
            ) from error


def run_module(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a module prints to its standard output, see `start_module`.

    Raises:
        ExportError: the module raised one.
        ArtifactError: the process could not be started, did not end in time, or failed in another way.
    """
    process = start_module(module, *arguments, environment=environment)
    if process.returncode == 0:
        return process.stdout
    lines = process.stderr.strip().splitlines()
    _, raised, message = lines[-1].partition("ExportError: ") if lines else ("", "", "")
    if raised:
        raise ExportError(message)
    raise ArtifactError(f"python -m {module} failed (exit {process.returncode}): {' | '.join(lines[-5:])}")
