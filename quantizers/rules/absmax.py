"""Clip nothing: the grid ends at the largest magnitude seen."""

from __future__ import annotations

from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.rules.thresholds import abs_max_threshold
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["AbsmaxQuantizer"]


class AbsmaxQuantizer(StatisticsQuantizer):
    """Largest magnitude of the whole tensor, over all batches; on weights one scale for all channels."""

    symmetric_by_default = True

    def _threshold(self, statistics: TensorStatistics) -> float:
        return abs_max_threshold(statistics)
