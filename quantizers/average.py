"""Clip at the average extreme: one loud sample does not set the range."""

from __future__ import annotations

from quantizers.statistics import TensorStatistics
from quantizers.statistics_quantizer import StatisticsQuantizer
from quantizers.thresholds import average_threshold

__all__ = ["AvgAbsmaxQuantizer"]


class AvgAbsmaxQuantizer(StatisticsQuantizer):
    """Mean over samples (not batches) of each sample's largest magnitude, exact, so the batch size does not matter."""

    symmetric_by_default = True

    def _threshold(self, statistics: TensorStatistics) -> float:
        return average_threshold(statistics)
