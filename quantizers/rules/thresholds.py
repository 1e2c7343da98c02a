"""The simple rules that turn statistics into a clipping threshold (in the tensor's own unit); see also the two searches."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantizers.errors import ConfigError
from quantizers.statistics.histogram import PowerOfTwoHistogram
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["abs_max_threshold", "average_threshold", "check_fraction", "moving_average_threshold", "percentile_threshold"]


def abs_max_threshold(statistics: TensorStatistics) -> float:
    """The largest magnitude ever seen: nothing is clipped.  Raises as ``statistics.check_usable`` does."""
    statistics.check_usable()
    return statistics.abs_max


def average_threshold(statistics: TensorStatistics) -> float:
    """Mean over samples of each sample's abs-max.  Raises as ``statistics.check_usable`` does."""
    return statistics.mean_abs_max


def moving_average_threshold(statistics: TensorStatistics) -> float:
    """Moving average of the batches' abs-max.  Raises ``ConfigError`` for statistics that do not keep one."""
    statistics.check_usable()
    if statistics.moving is None:
        raise ConfigError("these statistics keep no moving average; calibrate with MovingAverageAbsmaxQuantizer")
    return statistics.moving.value


def percentile_threshold(histogram: PowerOfTwoHistogram, fraction: float, abs_max: float) -> float:
    """The magnitude that ``fraction`` of all elements, zeros included, do not exceed; at most ``abs_max``.

    Interpolated linearly inside the bin that holds the ``fraction * total``-th magnitude.  When zeros alone make up the fraction,
    no percentile says anything about the other elements, and ``abs_max`` is returned.  Raises ``ConfigError`` unless
    ``0 < fraction <= 1``.
    """
    check_fraction(fraction)
    wanted = fraction * histogram.total - histogram.zeros
    if wanted <= 0 or fraction == 1:
        return abs_max
    counts = histogram.magnitude_counts
    below = np.cumsum(counts)
    # Rounding in the product may ask for a hair more than there is.
    index = min(int(np.searchsorted(below, wanted)), int(np.flatnonzero(counts)[-1]))
    before = int(below[index] - counts[index])
    position = index + min((wanted - before) / int(counts[index]), 1.0)
    return min(position * histogram.width, abs_max)


def check_fraction(fraction: Any) -> float:
    """Return ``fraction`` as a float when ``0 < fraction <= 1``, else raise ``ConfigError``."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float, np.floating)) or not 0 < fraction <= 1:
        raise ConfigError(f"hist_percent must be a number in (0, 1], got {fraction!r}")
    return float(fraction)
