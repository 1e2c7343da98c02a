"""Compares a saved model, reloaded in a fresh process, with the model in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle

from quantizers.errors import ArtifactError, MismatchError

from ..util.child import start_module
from .jit.replay import read_tensors, write_tensors

__all__ = ["TOLERANCE", "check_artifact", "largest_difference", "replay"]

# Paddle may order sums differently in a saved program; a rounding step of the integer grid is far larger than this.
TOLERANCE = 1e-5


def replay(prefix: str, inputs: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
    """What the saved model answers to ``inputs`` in a fresh Python process.

    Raises:
        ArtifactError: the process could not be started, or the model does not load or run in it.
    """
    with tempfile.TemporaryDirectory(prefix="ptq-check-") as folder:
        given, answered = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        write_tensors(given, inputs)
        process = start_module("ptq.export.jit.replay", os.path.abspath(prefix), str(given), str(answered))
        if process.returncode or not answered.is_file():
            lines = process.stderr.strip().splitlines()[-5:]
            raise ArtifactError(f"{prefix}: the saved model fails in a fresh process (exit {process.returncode}): {' | '.join(lines)}")
        return read_tensors(answered)


def check_artifact(prefix: str, inputs: Sequence[paddle.Tensor], expected: Sequence[paddle.Tensor]) -> float:
    """Reloads the saved model in a fresh process and compares its answers.

    Returns:
        The largest difference relative to the largest magnitude of the output.

    Raises:
        MismatchError: it exceeds `TOLERANCE`, or the outputs have other shapes.
    """
    answers = replay(prefix, inputs)
    if [tuple(t.shape) for t in answers] != [tuple(t.shape) for t in expected]:
        shapes = [list(t.shape) for t in answers], [list(t.shape) for t in expected]
        raise MismatchError(f"{prefix}: the saved model answers with shapes {shapes[0]}, the model in memory with {shapes[1]}")
    worst = max((largest_difference(a, e) for a, e in zip(answers, expected, strict=True)), default=0.0)
    if worst > TOLERANCE:
        raise MismatchError(
            f"{prefix}: the saved model differs from the model in memory by {worst:.2e} of the largest output "
            f"(allowed {TOLERANCE:.0e}); it was not kept. "
            "Does forward depend on Python state, randomness, or on tensors that are not registered?"
        )
    return worst


def largest_difference(answer: paddle.Tensor, expected: paddle.Tensor) -> float:
    """Largest absolute difference over the largest finite magnitude of ``expected``; infinite where only one of them is finite."""
    a, b = (tensor.astype("float64").numpy() for tensor in (answer, expected))
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(b)
    difference = np.abs(a - b)[finite].max(initial=0.0)
    largest = np.abs(b)[finite].max(initial=0.0)
    return float(difference / largest) if largest else float(difference)
