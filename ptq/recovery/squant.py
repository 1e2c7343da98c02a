"""SQuant: rounding without data, so that the errors of each kernel and of each output channel add up to next to nothing.

Guo, Qiu, Leng, Gao, Zhang, Liu, Yang, Guo: "SQuant: On-the-Fly Data-Free Quantization via Diagonal Hessian Approximation" (2022).  Inputs
of one channel are alike, and so are, less so, those of all channels: a sum of errors that is not zero shifts the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..convert.weights import WeightTask
from ..layers import IntegerWeight
from ..registry import PTQRegistry

__all__ = ["round_sums", "squant"]

Array = npt.NDArray[np.float64]


def squant(task: WeightTask) -> IntegerWeight:
    """A `Rounding` for `ImperativePTQ.convert`: `round_sums` for kernels and output channels; other weights get the nearest integers."""
    axis = PTQRegistry.layer_info(task.layer).quant_axis
    if axis is None or not task.qparams.is_symmetric:
        return IntegerWeight.nearest(task.weight, task.qparams)
    plain = IntegerWeight.nearest(task.weight, task.qparams)
    levels = np.moveaxis(task.weight.astype(np.float64) / plain.scale, axis, 0)
    kernels = levels.reshape(levels.shape[0], levels.shape[1], -1)
    integers = round_sums(kernels, (task.qparams.quant_min, task.qparams.quant_max)).reshape(levels.shape)
    return IntegerWeight(np.moveaxis(integers, 0, axis).astype(plain.integers.dtype), task.qparams)


def round_sums(levels: Array, bounds: tuple[int, int]) -> npt.NDArray[Any]:
    """Integers for ``levels``, ``[channels, kernels, elements]``, whose errors add up to at most 0.5 for each kernel and each channel.

    An element is rounded to the next integer above or below.  Where the bounds forbid that, a sum may stay larger.
    """
    integers = np.clip(np.rint(levels), *bounds)
    channels, kernels, elements = levels.shape
    if elements > 1:
        rows = _flip(levels.reshape(channels * kernels, elements), integers.reshape(channels * kernels, elements), bounds)
        integers = rows.reshape(levels.shape)
    return _flip_channels(levels, integers, bounds)


def _flip(levels: Array, integers: Array, bounds: tuple[int, int]) -> Array:
    """Rounds so many elements of each row the other way that the row's error is at most 0.5, those nearest to the middle first."""
    error = integers - levels
    total = error.sum(axis=1)
    count = np.rint(np.abs(total)).astype(int)
    direction = -np.sign(total)[:, None]
    can_flip = (error * direction < 0) & (integers + direction >= bounds[0]) & (integers + direction <= bounds[1])
    order = np.argsort(np.where(can_flip, -np.abs(error), 1.0), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    chosen = can_flip & (rank < count[:, None])
    return np.where(chosen, integers + direction, integers)


def _flip_channels(levels: Array, integers: Array, bounds: tuple[int, int]) -> Array:
    """The same for whole channels: of each kernel at most one element moves, the one that costs the kernel's own sum least."""
    error = integers - levels
    sums = error.sum(axis=2)
    total = sums.sum(axis=1)
    count = np.rint(np.abs(total)).astype(int)
    direction = -np.sign(total)[:, None, None]
    can_flip = (error * direction < 0) & (integers + direction >= bounds[0]) & (integers + direction <= bounds[1])
    worth = np.where(can_flip, np.abs(error), -1.0)
    element = worth.argmax(axis=2)
    is_usable = np.take_along_axis(worth, element[..., None], 2)[..., 0] >= 0
    # kernels whose own sum leans the same way lose least by a move
    lean = np.where(is_usable, -sums * direction[..., 0], -np.inf)
    rank = np.argsort(np.argsort(-lean, axis=1, kind="stable"), axis=1, kind="stable")
    chosen = is_usable & (rank < count[:, None])
    result = integers.copy()
    channel, kernel = np.nonzero(chosen)
    result[channel, kernel, element[channel, kernel]] += direction[channel, 0, 0]
    return result
