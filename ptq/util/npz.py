"""Arrays handed to another process, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load_arrays", "save_arrays"]


def save_arrays(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """Writes an ``.npz`` file."""
    named: dict[str, Any] = {f"array{number}": array for number, array in enumerate(arrays)}
    np.savez(path, **named)


def load_arrays(path: Path) -> list[np.ndarray]:
    """Reads what `save_arrays` wrote."""
    with np.load(path) as file:
        return list(file.values())
