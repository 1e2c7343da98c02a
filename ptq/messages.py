"""Wording shared by errors and warnings."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import paddle

from quantizers.errors import QuantizationWarning

__all__ = ["last_line", "warn"]

# Code between the user and the place that warns: this package, and Paddle, which calls the hooks.
_NOT_THE_USER = tuple(str(Path(file).parent) for file in (__file__, str(paddle.__file__)))


def last_line(error: BaseException) -> str:
    """The last line of an error's message, which is where Paddle's tracer puts the cause; at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def warn(message: str) -> None:
    """Warns the user; the warning points at the user's own line."""
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USER):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, QuantizationWarning, stacklevel=depth)
