"""Weights: each channel's largest magnitude."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantizers.rules.per_channel import PerChannelQuantizer
from quantizers.statistics.arrays import FloatArray

__all__ = ["PerChannelAbsmaxQuantizer"]


class PerChannelAbsmaxQuantizer(PerChannelQuantizer):
    """The largest magnitude of each output channel: nothing is clipped."""

    def _channel_thresholds(self, rows: FloatArray, abs_max: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        del rows
        return abs_max
