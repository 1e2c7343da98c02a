"""Weights: each channel clipped where its mean squared error is least."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantizers.grids.qparams import QuantSpec, symmetric_scale
from quantizers.rules.per_channel import PerChannelQuantizer
from quantizers.statistics.arrays import FloatArray

__all__ = ["PerChannelMSEQuantizer"]

_CANDIDATES = 64
# Rows are taken in blocks that stay in the processor's cache through all candidates.
_BLOCK = 1 << 16


class PerChannelMSEQuantizer(PerChannelQuantizer):
    """The best of 64 thresholds, evenly spaced up to each channel's abs-max, by the squared error of the whole channel.

    Of equals the largest.
    """

    def _channel_thresholds(self, rows: FloatArray, abs_max: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        quant_max = QuantSpec(self.quant_bits, narrow_range=True).quant_max
        step = max(1, _BLOCK // rows.shape[1])
        blocks = [slice(start, start + step) for start in range(0, len(rows), step)]
        return np.concatenate([_least_error(rows[block], abs_max[block], quant_max) for block in blocks])


def _least_error(rows: FloatArray, abs_max: npt.NDArray[np.float64], quant_max: int) -> npt.NDArray[np.float64]:
    best_threshold = abs_max.copy()
    best_error = np.full(len(rows), np.inf)
    work = np.empty_like(rows)
    # Squares of huge or tiny weights leave float32, so each channel is measured in units of its abs-max.
    unit = rows / symmetric_scale(abs_max, 1)[:, None]
    for candidate in range(_CANDIDATES, 0, -1):
        scale = np.float32(candidate / _CANDIDATES / quant_max)
        np.divide(unit, scale, out=work)
        np.rint(work, out=work)
        np.clip(work, -quant_max, quant_max, out=work)
        np.multiply(work, scale, out=work)
        np.subtract(work, unit, out=work)
        np.square(work, out=work)
        error = work.sum(axis=1)
        better = error < best_error
        best_error[better] = error[better]
        best_threshold[better] = (abs_max * (candidate / _CANDIDATES))[better]
    return best_threshold
