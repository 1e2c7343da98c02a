"""What is collected of the values of one tensor while a report is made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import ChannelRanges, PowerOfTwoHistogram, QParams, TensorStatistics
from quantizers.errors import QuantizationError

from ...util.on_channels import on_channels
from .noise import power
from .records import TensorRecord

__all__ = ["BINS", "Values"]

BINS = 64
MOST = 0.999

Array = npt.NDArray[Any]


class Values:
    """Range, histogram, channels and clipped share of one tensor over all batches.

    Args:
        grid: the grid that the tensor is rounded to, ``None`` where there is none.
        factors: ``[C]``, what each channel is multiplied by before that.
        channel_axis: where its channels are, ``None`` where it has none.
    """

    def __init__(self, grid: QParams | None, factors: Array | None = None, channel_axis: int | None = None, rule: str = "") -> None:
        self._grid, self._factors, self._axis, self._rule = grid, factors, channel_axis, rule
        self._statistics = TensorStatistics()
        self._channels: ChannelRanges | None = None
        self._outside = self._counted = self._elements = 0
        self._power = 0.0

    def add(self, array: Array, items: int | None) -> None:
        """One batch, float32 of any shape; tensors that hold NaN or Inf, or other types, are left out."""
        if array.dtype != np.float32 or not array.size:
            return
        try:
            self._statistics.update(array, items)
        except QuantizationError:  # NaN: the outputs tell that
            return
        self._power, self._elements = self._power + power(array), self._elements + array.size
        if self._axis is not None and array.ndim > 1 and -array.ndim <= self._axis < array.ndim:
            found = ChannelRanges.of(array, self._axis)
            if self._channels is None:
                self._channels = found
            elif self._channels.low.shape == found.low.shape:
                self._channels.merge(found)
        if self._grid is not None:
            self._count(array, self._grid)

    def _count(self, array: Array, grid: QParams) -> None:
        low, high = _bounds(grid)
        if self._factors is not None:
            array = array * on_channels(self._factors, array, self._axis)
        half = float(grid.scale) / 2
        extreme = (float(array.min()), float(array.max()))
        self._counted += array.size
        if extreme[0] < low - half or extreme[1] > high + half:
            self._outside += int(np.count_nonzero((array < low - half) | (array > high + half)))

    def record(self, sqnr_db: float | None) -> TensorRecord | None:
        """What was found; ``None`` when nothing was."""
        found = self._statistics
        if not found.items or found.poisoned:
            return None
        grid = {} if self._grid is None else self._described(self._grid)
        return TensorRecord(
            found.low,
            found.high,
            _rebinned(found.histogram, found.low, found.high),
            math.sqrt(self._power / self._elements),
            _tail(found.histogram, found.abs_max),
            self._spread(),
            sqnr_db,
            clipped=self._outside / self._counted if self._counted else 0.0,
            rule=self._rule,
            **grid,
        )

    def _described(self, grid: QParams) -> dict[str, Any]:
        low, high = _bounds(grid)
        known = {"bits": grid.num_bits, "signed": low < 0}
        return known if self._factors is not None else {**known, "grid_low": low, "grid_high": high, "step": float(grid.scale)}

    def _spread(self) -> float:
        if self._channels is None:
            return 0.0
        largest = self._channels.abs_max.astype(np.float64)
        median = float(np.median(largest[largest > 0])) if (largest > 0).any() else 0.0
        return float(largest.max()) / median if median else 0.0


def _bounds(grid: QParams) -> tuple[float, float]:
    low, high = grid.low, grid.high
    if isinstance(low, list) or isinstance(high, list):
        raise TypeError("a grid per channel is described by one scale and factors")
    return low, high


def _rebinned(histogram: PowerOfTwoHistogram, low: float, high: float) -> tuple[int, ...]:
    """The counts, zeros included, in `BINS` bins over ``[low, high]``; a bin of the histogram goes where its middle lies."""
    counts = np.concatenate((histogram.counts[1][::-1], histogram.counts[0]))
    size = histogram.counts.shape[1]
    middles = (np.arange(-size, size) + 0.5) * histogram.width
    width = (high - low) / BINS
    if width <= 0:
        return (histogram.total,)
    used = np.flatnonzero(counts)
    places = np.clip((middles[used] - low) / width, 0, BINS - 1).astype(np.intp)
    found = np.bincount(places, weights=counts[used], minlength=BINS).astype(np.int64)
    found[int(np.clip(-low / width, 0, BINS - 1))] += histogram.zeros
    return tuple(int(count) for count in found)


def _tail(histogram: PowerOfTwoHistogram, largest: float) -> float:
    """Below which share of the largest magnitude 99.9 % of the values lie."""
    if not largest or not histogram.total:
        return 1.0
    below = np.cumsum(histogram.magnitude_counts) + histogram.zeros
    place = int(np.searchsorted(below, math.ceil(MOST * histogram.total)))
    return min(1.0, (place + 1) * histogram.width / largest)
