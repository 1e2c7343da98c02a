"""Clip nothing: the grid spans the smallest and the largest element seen."""

from __future__ import annotations

from quantizers.statistics import TensorStatistics
from quantizers.statistics_quantizer import StatisticsQuantizer
from quantizers.thresholds import abs_max_threshold

__all__ = ["MinMaxQuantizer"]


class MinMaxQuantizer(StatisticsQuantizer):
    """Smallest and largest element over all batches, with a zero point where the tensor is signed."""

    def _threshold(self, statistics: TensorStatistics) -> float:
        return abs_max_threshold(statistics)
