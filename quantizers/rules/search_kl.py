"""Where to clip a tensor so that the quantized distribution keeps the most information (Kullback-Leibler divergence).

The rule is that of S. Migacz, "8-bit Inference with TensorRT" (GTC 2017), over all cut points.  The reference distribution P is the
histogram up to the cut, with the mass beyond it added to its last bin.  Q is the histogram up to the cut (without that mass) merged into
as many groups as the grid has levels, each group's mass spread evenly over those of its bins that P fills.  Where Q has no mass but P
has, the divergence is infinite and the cut is out of the question.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantizers.grids.qparams import check_num_bits
from quantizers.grids.ranges import GridKind
from quantizers.statistics.histogram import CountArray, PowerOfTwoHistogram
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["kl_cut", "kl_divergences", "kl_levels", "kl_threshold"]

_STEP = 2
_CHUNK = 1 << 15


def kl_threshold(histogram: PowerOfTwoHistogram, levels: int, abs_max: float) -> float:
    """The cut of least divergence as a magnitude, at most ``abs_max``; zeros, which every grid keeps exactly, do not count.

    ``levels`` is the number of grid levels for magnitudes.  With at least as many levels as bins there is nothing to choose:
    ``abs_max``.
    """
    counts = histogram.magnitude_counts
    bins = min(int(abs_max / histogram.width) + 1, len(counts))
    cut = kl_cut(counts[:bins], levels)
    return abs_max if cut == bins else min(cut * histogram.width, abs_max)


def kl_levels(statistics: TensorStatistics, kind: GridKind, num_bits: int) -> int:
    """How many levels the grid has for magnitudes up to the abs-max.

    All ``2**num_bits`` of an unsigned grid, half of a symmetric one, and of an asymmetric one the share that falls on the longer
    side: a tensor with a short negative tail keeps nearly all of them for its positive side.
    """
    whole = 1 << check_num_bits(num_bits)
    if kind == "unsigned":
        return whole
    if kind == "symmetric":
        return whole // 2
    width = max(statistics.high, 0.0) - min(statistics.low, 0.0)
    return whole if width == 0 else round(whole * (statistics.abs_max / width))


def kl_cut(counts: CountArray, levels: int, step: int = _STEP) -> int:
    """How many of the bins ``counts`` ``[n]`` to keep: among ``n``, ``n - step``, ... down to ``levels``, the least divergence.

    Of equals the largest.  ``n`` when nothing is counted or ``n <= levels``.
    """
    size = len(counts)
    if size <= levels or not counts.any():
        return size
    cuts = np.arange(size, levels - 1, -step, dtype=np.int64)
    return int(cuts[np.argmin(kl_divergences(counts, levels, cuts))])


def kl_divergences(counts: CountArray, levels: int, cuts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """KL(P || Q) in nats for each of ``cuts`` (``levels <= cut <= n``); Inf where Q is empty and P is not.

    Three prefix sums (mass, filled bins, h log h) make the cost ``len(cuts) * levels`` instead of ``len(cuts) * n``.
    """
    rows = max(1, _CHUNK // (levels + 1))
    parts = [_divergences(counts, levels, cuts[start : start + rows], *_prefix_sums(counts)) for start in range(0, len(cuts), rows)]
    return np.concatenate(parts)


def _prefix_sums(counts: CountArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    mass = np.concatenate(([0.0], np.cumsum(counts, dtype=np.float64)))
    filled = np.concatenate(([0.0], np.cumsum(counts > 0, dtype=np.float64)))
    entropy = np.concatenate(([0.0], np.cumsum(_x_log_x(counts.astype(np.float64)))))
    return mass, filled, entropy


def _divergences(
    counts: CountArray,
    levels: int,
    cuts: npt.NDArray[np.int64],
    mass: npt.NDArray[np.float64],
    filled: npt.NDArray[np.float64],
    entropy: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    # Bin k of a cut at c belongs to group floor(levels * k / c), so group g starts at bin ceil(g * c / levels).
    starts = (cuts[:, None] * np.arange(levels + 1) + (levels - 1)) // levels
    group_mass = np.diff(mass[starts], axis=1)
    group_bins = np.diff(filled[starts], axis=1)
    kept = mass[cuts]
    outside = mass[-1] - kept
    last = counts[cuts - 1].astype(np.float64)
    # The mass from outside makes the last bin one that P fills, even if the histogram does not.
    group_bins[:, -1] += (last == 0) & (outside > 0)
    density = np.maximum(group_mass, 1.0) / np.maximum(group_bins, 1.0)
    log_density = np.log(density)
    p_log_p = entropy[cuts - 1] + _x_log_x(last + outside)
    p_log_q = np.einsum("ij,ij->i", group_mass, log_density) + outside * log_density[:, -1]
    impossible = (group_mass[:, -1] == 0) & (outside > 0)
    divergence = (p_log_p - p_log_q) / mass[-1] + np.log(np.maximum(kept, 1.0) / mass[-1])
    return np.asarray(np.where(impossible, np.inf, divergence))


def _x_log_x(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(x * np.log(np.maximum(x, 1.0)))
