"""Clip at the average extreme: one loud sample does not set the range."""

from __future__ import annotations

from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.rules.thresholds import average_threshold
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["AvgAbsmaxQuantizer"]


class AvgAbsmaxQuantizer(StatisticsQuantizer):
    """Mean over samples (not batches) of each sample's largest magnitude, exact, so the batch size does not matter."""

    symmetric_by_default = True

    def _threshold(self, statistics: TensorStatistics) -> float:
        return average_threshold(statistics)
