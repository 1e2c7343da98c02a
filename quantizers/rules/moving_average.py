"""Clip at the moving average of the batches' extremes, as quantization-aware training does."""

from __future__ import annotations

from typing import ClassVar

from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.rules.thresholds import moving_average_threshold
from quantizers.statistics.moving import MovingAverage
from quantizers.statistics.summary import DEFAULT_BINS, DEFAULT_MAX_SAMPLES
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["MovingAverageAbsmaxQuantizer"]


class MovingAverageAbsmaxQuantizer(StatisticsQuantizer):
    """Moving average over batches of the largest magnitude; ``moving_rate`` between 0 and 1 is how much the past weighs.

    It depends on the order and size of batches, so its statistics cannot be merged.
    """

    symmetric_by_default = True

    _setting_names: ClassVar[tuple[str, ...]] = ("quant_bits", "moving_rate", "bins", "symmetric", "max_samples_per_item")

    def __init__(
        self,
        quant_bits: int = 8,
        moving_rate: float = 0.9,
        bins: int = DEFAULT_BINS,
        *,
        symmetric: bool | None = None,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
    ) -> None:
        super().__init__(quant_bits, bins, symmetric=symmetric, max_samples_per_item=max_samples_per_item)
        self.moving_rate = MovingAverage(moving_rate).rate

    def _threshold(self, statistics: TensorStatistics) -> float:
        return moving_average_threshold(statistics)
