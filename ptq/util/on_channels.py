"""Factors of channels in the shape of a tensor that has them on one axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["on_channels"]

Array = npt.NDArray[Any]


def on_channels(factors: Array, array: Array, axis: int | None) -> Array:
    """Factors of channels, ``[C]``, in float32 and in a shape that broadcasts over an array whose channels lie on an axis, else on 1."""
    shape = [1] * array.ndim
    shape[1 if axis is None else axis] = -1
    return np.asarray(factors, dtype=np.float32).reshape(shape)
