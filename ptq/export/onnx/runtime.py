"""What a runtime that executes ONNX files offers to their check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ...runtimes.profile import Executed

__all__ = ["Runtime"]


class Runtime(Protocol):
    """Runs ONNX models; construction fails with `MissingExtraError` where it is not installed."""

    name: str

    def run(self, model: bytes, inputs: Mapping[str, np.ndarray], plain: bool = False) -> dict[str, np.ndarray]:
        """The model's outputs by name; ``plain``: each operation computed as it is written, as far as the runtime offers that."""

    def executed(self, model: bytes, inputs: Mapping[str, np.ndarray], nodes: Sequence[Any]) -> dict[str, Executed]:
        """What the runtime used for each of these nodes of the model, by their names, as far as it says."""
