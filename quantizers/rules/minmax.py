"""Clip nothing: the grid spans the smallest and the largest element seen."""

from __future__ import annotations

from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.rules.thresholds import abs_max_threshold
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["MinMaxQuantizer"]


class MinMaxQuantizer(StatisticsQuantizer):
    """Smallest and largest element over all batches, with a zero point where the tensor is signed."""

    def _threshold(self, statistics: TensorStatistics) -> float:
        return abs_max_threshold(statistics)
