"""The range of every channel of one tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError, ShapeError
from quantizers.statistics.arrays import FloatArray, as_float_array

__all__ = ["ChannelRanges", "ItemRanges"]


@dataclass(frozen=True)
class ItemRanges:
    """Smallest and largest element of each channel of each sample of one batch: ``low`` and ``high``, float32 ``[items, C]``; NaN stays."""

    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, tensor: Any, axis: int, *, where: str = "tensor") -> ItemRanges:
        """Those of a tensor with samples on axis 0 and channels on ``axis``, where that is 0 of one sample.

        Raises ``ShapeError`` for a tensor without that axis or without elements.
        """
        array = as_float_array(tensor, where=where)
        if not -array.ndim <= axis < array.ndim or not array.size:
            raise ShapeError(f"{where}: a tensor of shape {list(array.shape)} has no channels on axis {axis}")
        if axis in (0, -array.ndim):
            array, axis = array[None], 1
        axis %= array.ndim
        # the elements behind the channels first: they lie side by side
        rows = array.reshape(*array.shape[: axis + 1], -1)
        between = tuple(range(1, axis))
        return cls(rows.min(axis=-1).min(axis=between), rows.max(axis=-1).max(axis=between))

    def channels(self) -> ChannelRanges:
        """The ranges over all samples."""
        return ChannelRanges(self.low.min(axis=0), self.high.max(axis=0))


class ChannelRanges:
    """Smallest and largest element of each channel, exact for any batching and order.

    ``low``, ``high``: float32 ``[C]``.  Raises ``ConfigError`` when they are no ranges.
    """

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike) -> None:
        self.low: FloatArray = np.array(low, dtype=np.float32)
        self.high: FloatArray = np.array(high, dtype=np.float32)
        if self.low.ndim != 1 or self.low.shape != self.high.shape or not (self.low <= self.high).all():
            raise ConfigError(f"the ranges of channels must be [C] and low <= high, got {self.low.shape} and {self.high.shape}")

    @classmethod
    def of(cls, tensor: Any, axis: int, *, where: str = "tensor") -> ChannelRanges:
        """The ranges of one batch, channels on ``axis``; raises ``ShapeError`` for a tensor without that axis or without elements."""
        return ItemRanges.of(tensor, axis, where=where).channels()

    def merge(self, other: ChannelRanges) -> None:
        """Adds what ``other`` saw; raises ``ShapeError`` when it has another number of channels."""
        if other.low.shape != self.low.shape:
            raise ShapeError(f"ranges of {self.low.size} and {other.low.size} channels cannot be merged")
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)

    @property
    def abs_max(self) -> FloatArray:
        """The largest magnitude of each channel."""
        return np.maximum(-self.low, self.high)

    def copy(self) -> ChannelRanges:
        """An independent copy."""
        return ChannelRanges(self.low, self.high)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChannelRanges):
            return NotImplemented
        return np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)

    __hash__ = None  # type: ignore[assignment]
