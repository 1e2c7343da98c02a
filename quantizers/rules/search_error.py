"""Where to clip a tensor so that quantizing costs least: mean squared error, or mean absolute error (earth mover's distance)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantizers.grids.grid_error import PointMasses, grid_errors
from quantizers.grids.qparams import QuantSpec, asymmetric_grid, symmetric_scale
from quantizers.grids.ranges import GridKind, Range, full_range
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["candidate_ranges", "least_error_range", "range_errors"]

Floats = npt.NDArray[np.float64]

_CANDIDATES = 200


def least_error_range(
    statistics: TensorStatistics,
    kind: GridKind,
    num_bits: int = 8,
    *,
    power: int = 2,
    candidates: int = _CANDIDATES,
) -> Range:
    """The range whose grid costs least on the histogram: mean of ``|x - fake_quantize(x)| ** power``, power 2 or 1.

    First the best of ``candidates`` thresholds, evenly spaced up to the abs-max, each clipping both sides.  For an asymmetric grid
    then one pass over each bound alone: the best low for that high, then the best high for that low.  Of equals the widest.
    Raises as ``statistics.check_usable`` does.
    """
    statistics.check_usable()
    whole = full_range(statistics, kind)
    if whole.threshold == 0:
        return whole
    masses = PointMasses.of(statistics.histogram)
    low, high = _best(masses, *candidate_ranges(whole, kind, candidates), kind, num_bits, power)
    if kind == "asymmetric":
        fractions = _fractions(candidates)
        # The bound found so far comes first, so that the pass can only improve on it.
        lows = np.concatenate(([low], whole.low * fractions, [0.0]))
        low, high = _best(masses, lows, np.full_like(lows, high), kind, num_bits, power)
        highs = np.concatenate(([high], whole.high * fractions, [0.0]))
        low, high = _best(masses, np.full_like(highs, low), highs, kind, num_bits, power)
    return Range(low, high)


def candidate_ranges(whole: Range, kind: GridKind, candidates: int = _CANDIDATES) -> tuple[Floats, Floats]:
    """Lows and highs (float64 ``[candidates]``) of the thresholds that `least_error_range` tries first, widest first."""
    thresholds = whole.threshold * _fractions(candidates)
    if kind == "unsigned":
        return np.zeros_like(thresholds), thresholds
    if kind == "symmetric":
        return -thresholds, thresholds
    return np.maximum(whole.low, -thresholds), np.minimum(whole.high, thresholds)


def range_errors(
    masses: PointMasses, lows: npt.ArrayLike, highs: npt.ArrayLike, kind: GridKind, num_bits: int, *, power: int = 2
) -> Floats:
    """Mean error of the grid over each range ``[lows[i], highs[i]]``: the same grids that `grid_of_range` makes."""
    low64, high64 = np.asarray(lows, dtype=np.float64), np.asarray(highs, dtype=np.float64)
    spec = QuantSpec(num_bits, signed=kind == "symmetric")
    if kind == "asymmetric":
        scale, zero_point = asymmetric_grid(low64, high64, spec.quant_max)
    else:
        scale = symmetric_scale(np.maximum(-low64, high64), spec.quant_max)
        zero_point = np.zeros(scale.shape, dtype=np.int32)
    return grid_errors(masses, scale, zero_point, spec.quant_min, spec.quant_max, power=power)


def _fractions(candidates: int) -> Floats:
    return np.arange(candidates, 0, -1, dtype=np.float64) / candidates


def _best(masses: PointMasses, lows: Floats, highs: Floats, kind: GridKind, num_bits: int, power: int) -> tuple[float, float]:
    errors = range_errors(masses, lows, highs, kind, num_bits, power=power)
    # An empty range means a scale of 1.0, which has nothing to do with the tensor.
    errors[lows == highs] = np.inf
    index = int(np.argmin(errors))
    return float(lows[index]), float(highs[index])
