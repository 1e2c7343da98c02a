"""Wording shared by errors and warnings."""

from __future__ import annotations

import warnings

from quantizers.errors import QuantizationWarning

__all__ = ["last_line", "warn"]


def last_line(error: BaseException) -> str:
    """The last line of an error's message, which is where Paddle's tracer puts the cause; at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def warn(message: str) -> None:
    """Warns the user; the warning points at the caller of the public method two calls up."""
    warnings.warn(message, QuantizationWarning, stacklevel=4)
