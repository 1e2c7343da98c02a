"""Clip where the mean squared error is least."""

from __future__ import annotations

from quantizers.ranges import GridKind, Range
from quantizers.search_error import least_error_range
from quantizers.statistics import TensorStatistics
from quantizers.statistics_quantizer import StatisticsQuantizer

__all__ = ["MSEQuantizer"]


class MSEQuantizer(StatisticsQuantizer):
    """The range whose grid has the least mean squared error on the histogram of all batches together."""

    def _range(self, statistics: TensorStatistics, kind: GridKind) -> Range:
        return least_error_range(statistics, kind, self.quant_bits, power=2)
