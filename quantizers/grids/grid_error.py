"""What quantizing costs, summed over a histogram: exact for point masses at the bin centres, from three prefix sums.

With W0(t), W1(t) the number and the sum of the points below t, and G(t) = W1(t) - t * W0(t), rounding to a grid of step s with
levels v and boundaries b half-way between them costs (by summation by parts; T0, T1, T2 are the moments of all points)::

    sum of squares    = T2 - 2 v_last T1 + v_last^2 T0 + 2 s * sum G(b)
    sum of magnitudes = T1 - v_last T0 + 2 * (sum G(b) - sum G(v))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError
from quantizers.grids.qparams import QParams
from quantizers.statistics.histogram import PowerOfTwoHistogram
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["PointMasses", "absolute_error", "grid_errors", "squared_error"]

Floats = npt.NDArray[np.float64]

_CHUNK = 1 << 15


@dataclass(frozen=True)
class PointMasses:
    """A histogram as points at its signed bin centres ``k + 1/2``, ``k = -n .. n - 1``, in units of the bin width.

    ``w0``, ``w1``, ``w2`` (float64 ``[2n + 1]``): number, sum and sum of squares of the points below each bin; ``total``: how
    many elements the histogram counted, zeros included (zeros are on every grid, so they cost nothing); ``span``: bins between the
    outermost points.
    """

    w0: Floats
    w1: Floats
    w2: Floats
    width: float
    total: int
    span: int

    @classmethod
    def of(cls, histogram: PowerOfTwoHistogram) -> PointMasses:
        """The points of ``histogram``."""
        used = np.flatnonzero(histogram.magnitude_counts)
        n = int(used[-1]) + 1 if used.size else 1
        weights = np.concatenate((histogram.counts[1, :n][::-1], histogram.counts[0, :n])).astype(np.float64)
        centres = np.arange(-n, n) + 0.5
        filled = np.flatnonzero(weights)
        span = int(filled[-1] - filled[0]) + 1 if filled.size else 0
        w0, w1, w2 = (np.concatenate(([0.0], np.cumsum(weights * centres**k))) for k in range(3))
        return cls(w0, w1, w2, histogram.width, histogram.total, span)

    def below(self, points: Floats) -> npt.NDArray[np.intp]:
        """How many centres lie below each of ``points`` (in bin widths, any shape): the index into the prefix sums."""
        n = len(self.w0) // 2
        return (np.ceil(np.clip(points, -n, n) - 0.5) + n).astype(np.intp)

    def deficit(self, points: Floats) -> Floats:
        """G at each of ``points`` (in bin widths, any shape)."""
        index = self.below(points)
        return np.asarray(self.w1[index] - points * self.w0[index])


def grid_errors(
    masses: PointMasses,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike,
    quant_min: int,
    quant_max: int,
    *,
    power: int = 2,
) -> Floats:
    """Mean of ``|x - fake_quantize(x)| ** power`` for each grid ``(scale[i], zero_point[i])`` ``[m]``, in the tensor's unit.

    ``power`` 1 or 2, else ``ConfigError``.  Exact for point masses at the bin centres, unless the grid has more levels than the
    histogram has bins: what happens inside a bin is unknown then, and the error of rounding is taken as that of a uniform
    distribution (step**2 / 12, or step / 4).
    """
    if power not in (1, 2):
        raise ConfigError(f"power must be 1 or 2, got {power!r}")
    step = np.atleast_1d(np.asarray(scale, dtype=np.float64)) / masses.width
    zero = np.atleast_1d(np.asarray(zero_point, dtype=np.float64))
    levels = quant_max - quant_min + 1
    if masses.total == 0:
        return np.zeros(len(step))
    if levels > masses.span:
        sums = _uniform_sums(masses, step, (quant_min - zero) * step, (quant_max - zero) * step, power)
    else:
        rows = max(1, _CHUNK // levels)
        first = quant_min - zero
        chunks = [slice(i, i + rows) for i in range(0, len(step), rows)]
        sums = np.concatenate([_point_sums(masses, step[c], first[c], levels, power) for c in chunks])
    # Rounding may leave a hair below zero where the error is zero.
    return np.asarray(np.maximum(sums, 0.0) * (masses.width**power / masses.total))


def _point_sums(masses: PointMasses, step: Floats, first: Floats, levels: int, power: int) -> Floats:
    t0, t1, t2 = masses.w0[-1], masses.w1[-1], masses.w2[-1]
    integers = first[:, None] + np.arange(levels)
    last = (first + (levels - 1)) * step
    at_boundaries = masses.deficit((integers[:, :-1] + 0.5) * step[:, None]).sum(axis=1)
    if power == 2:
        return np.asarray(t2 - 2 * last * t1 + last * last * t0 + 2 * step * at_boundaries)
    at_levels = masses.deficit(integers * step[:, None]).sum(axis=1)
    return np.asarray(t1 - last * t0 + 2 * (at_boundaries - at_levels))


def _uniform_sums(masses: PointMasses, step: Floats, low: Floats, high: Floats, power: int) -> Floats:
    t0, t1, t2 = masses.w0[-1], masses.w1[-1], masses.w2[-1]
    under, over = masses.below(low), masses.below(high)
    n0, n1, n2 = masses.w0[under], masses.w1[under], masses.w2[under]
    m0, m1, m2 = t0 - masses.w0[over], t1 - masses.w1[over], t2 - masses.w2[over]
    inside = t0 - n0 - m0
    if power == 2:
        clipped = n2 - 2 * low * n1 + low * low * n0 + m2 - 2 * high * m1 + high * high * m0
        return np.asarray(inside * step * step / 12 + clipped)
    return np.asarray(inside * step / 4 + (low * n0 - n1) + (m1 - high * m0))


def squared_error(statistics: TensorStatistics, qparams: QParams) -> float:
    """Mean of ``(x - fake_quantize(x)) ** 2`` over the statistics' histogram, for a grid with one scale.

    Raises as ``statistics.check_usable`` does, and ``ConfigError`` for a grid per channel.
    """
    return _error(statistics, qparams, 2)


def absolute_error(statistics: TensorStatistics, qparams: QParams) -> float:
    """Mean of ``|x - fake_quantize(x)|`` over the statistics' histogram, for a grid with one scale; raises as `squared_error`."""
    return _error(statistics, qparams, 1)


def _error(statistics: TensorStatistics, qparams: QParams, power: int) -> float:
    statistics.check_usable()
    if qparams.scale.ndim:
        raise ConfigError("a histogram of a whole tensor says nothing about a grid per channel")
    masses = PointMasses.of(statistics.histogram)
    errors = grid_errors(masses, qparams.scale, qparams.zero_point, qparams.quant_min, qparams.quant_max, power=power)
    return float(errors[0])
