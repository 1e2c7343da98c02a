"""Weights: a percentile of each channel's magnitudes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantizers.rules.per_channel import PerChannelQuantizer
from quantizers.rules.thresholds import check_fraction
from quantizers.statistics.arrays import FloatArray

__all__ = ["PerChannelHistQuantizer"]


class PerChannelHistQuantizer(PerChannelQuantizer):
    """The magnitude that a fraction ``hist_percent`` of each channel does not exceed, interpolated between sorted magnitudes."""

    _setting_names: ClassVar[tuple[str, ...]] = ("quant_bits", "hist_percent", "quant_axis")

    def __init__(self, quant_bits: int = 8, hist_percent: float = 0.9999, *, quant_axis: int | None = None) -> None:
        super().__init__(quant_bits, quant_axis=quant_axis)
        self.hist_percent = check_fraction(hist_percent)

    def _channel_thresholds(self, rows: FloatArray, abs_max: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        thresholds = np.quantile(np.abs(rows), self.hist_percent, axis=1).astype(np.float64)
        # A channel that is nearly all zeros would lose everything that is not.
        return np.where(thresholds > 0, thresholds, abs_max)
