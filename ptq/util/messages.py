"""Wording shared by errors and warnings."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path

import paddle
from paddle import nn

from quantizers.errors import QuantizationWarning

__all__ = ["last_line", "layer_that_raised", "warn"]

# Code between the user and the place that warns: this package, and Paddle, which calls the hooks.
_NOT_THE_USER = str(Path(__file__).parents[1]), str(Path(str(paddle.__file__)).parent)


def last_line(error: BaseException) -> str:
    """The last line of an error's message, which is where Paddle puts the cause; at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith("[operator <")]  # eager operators add their name as a line of its own
    return (causes or lines or [type(error).__name__])[-1][:300]


def layer_that_raised(model: nn.Layer, error: BaseException) -> str:
    """Path of the innermost layer whose code an error came through; empty for the model itself."""
    names = {id(layer): name for name, layer in model.named_sublayers(include_self=True)}
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = names.get(id(frame.f_locals.get("self")), found)
    return found


def warn(message: str) -> None:
    """Warns the user; the warning points at the user's own line."""
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USER):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, QuantizationWarning, stacklevel=depth)
