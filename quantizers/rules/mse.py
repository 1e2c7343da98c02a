"""Clip where the mean squared error is least."""

from __future__ import annotations

from quantizers.grids.ranges import GridKind, Range
from quantizers.rules.search_error import least_error_range
from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["MSEQuantizer"]


class MSEQuantizer(StatisticsQuantizer):
    """The range whose grid has the least mean squared error on the histogram of all batches together."""

    def _range(self, statistics: TensorStatistics, kind: GridKind) -> Range:
        return least_error_range(statistics, kind, self.quant_bits, power=2)
