"""What one batch of one tensor contributes to its statistics: computed once, shared by every quantizer that wants it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers.errors import ConfigError
from quantizers.statistics.arrays import FloatArray, as_float_array
from quantizers.statistics.channels import ItemRanges
from quantizers.statistics.exact import exact_sum
from quantizers.statistics.histogram import PowerOfTwoHistogram, check_bins

__all__ = ["DEFAULT_BINS", "DEFAULT_MAX_SAMPLES", "SummarySettings", "TensorSummary", "sample_stride"]

DEFAULT_BINS = 2048
DEFAULT_MAX_SAMPLES = 8192


@dataclass(frozen=True)
class SummarySettings:
    """What a summary depends on besides the data; quantizers with equal settings can share summaries.

    ``bins``: resolution of the histogram.  ``max_samples_per_item``: how many elements of each sample feed the histogram; None
    means all.  Raises ``ConfigError`` unless both are positive ints, and for more than `MAX_BINS` bins.
    """

    bins: int = DEFAULT_BINS
    max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES

    def __post_init__(self) -> None:
        check_bins(self.bins)
        most = self.max_samples_per_item
        if most is not None and (isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1):
            raise ConfigError(f"max_samples_per_item must be a positive int or None, got {most!r}")


@dataclass(frozen=True)
class TensorSummary:
    """Extremes, sums and histogram of one batch of one tensor.

    ``low``, ``high`` and ``abs_max`` are exact; ``sum_abs_max``, ``sum_low`` and ``sum_high`` are the sums over samples of each
    sample's extremes, in units of 2**-149; ``elements`` and ``items`` count numbers and samples.  A batch with NaN or Inf has
    ``finite`` False, an empty histogram and zero sums: `TensorStatistics.add` refuses it.  Not to be changed once made.
    """

    settings: SummarySettings
    where: str
    finite: bool
    low: float
    high: float
    abs_max: float
    sum_abs_max: int
    sum_low: int
    sum_high: int
    elements: int
    items: int
    histogram: PowerOfTwoHistogram

    @classmethod
    def of(
        cls,
        array: Any,
        *,
        items: int | None = None,
        bins: int = DEFAULT_BINS,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
        where: str = "tensor",
        ranges: ItemRanges | None = None,
    ) -> TensorSummary:
        """Summarise ``array``: a floating-point tensor of any shape, read once.

        A sample is an index of axis 0.  With ``items=B`` the tensor is seen as ``[B, -1]`` instead, when B divides its size (for
        activations that folded the batch axis into another).  ``where`` names the tensor in messages; ``ranges``, where they are known
        already and of the same samples, save a scan of it.  Raises what
        `quantizers.statistics.arrays.as_float_array` raises and ``ConfigError`` for bad settings; a NaN raises nothing here.
        """
        settings = SummarySettings(bins, max_samples_per_item)
        rows = _as_rows(as_float_array(array, where=where), items)
        if ranges is not None and len(ranges.low) == len(rows):
            lows, highs = ranges.low.min(axis=1), ranges.high.max(axis=1)
        else:
            lows, highs = rows.min(axis=1), rows.max(axis=1)
        low, high = float(lows.min()), float(highs.max())
        histogram = PowerOfTwoHistogram(settings.bins)
        # NaN propagates through min and max, so looking for it costs nothing more.
        if not (math.isfinite(low) and math.isfinite(high)):
            return cls(settings, where, False, low, high, math.nan, 0, 0, 0, rows.size, len(rows), histogram)
        abs_max = max(high, -low)
        stride = sample_stride(rows.shape[1], settings.max_samples_per_item)
        histogram.update(np.ascontiguousarray(rows[:, ::stride]), abs_max)
        return cls(
            settings=settings,
            where=where,
            finite=True,
            low=low,
            high=high,
            abs_max=abs_max,
            sum_abs_max=exact_sum(np.maximum(highs, -lows)),
            sum_low=exact_sum(lows),
            sum_high=exact_sum(highs),
            elements=rows.size,
            items=len(rows),
            histogram=histogram,
        )


def sample_stride(size: int, max_samples: int | None) -> int:
    """Distance between the elements of a sample of ``size`` numbers that feed the histogram: at most ``max_samples`` of them.

    The first number from ``size / max_samples`` up that has no divisor in common with ``size``, hence none with any dimension of
    the sample: a stride of the image's width would look at one column only.
    """
    if max_samples is None or size <= max_samples:
        return 1
    stride = -(-size // max_samples)
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride


def _as_rows(array: FloatArray, items: int | None) -> FloatArray:
    if items is not None and (isinstance(items, bool) or not isinstance(items, (int, np.integer)) or items < 1):
        raise ConfigError(f"items must be a positive int or None, got {items!r}")
    if array.ndim == 0:
        return array.reshape(1, 1)
    rows = array.shape[0] if items is None or array.size % items else int(items)
    return np.ascontiguousarray(array).reshape(rows, -1)
