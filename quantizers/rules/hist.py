"""Clip at a percentile of the magnitudes."""

from __future__ import annotations

from typing import ClassVar

from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.rules.thresholds import check_fraction, percentile_threshold
from quantizers.rules.upsample import check_upsample_bins
from quantizers.statistics.summary import DEFAULT_BINS, DEFAULT_MAX_SAMPLES
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["HistQuantizer"]


class HistQuantizer(StatisticsQuantizer):
    """The magnitude that a fraction ``hist_percent`` of all elements (zeros included) do not exceed.

    ``upsample_bins`` is accepted for code written for Paddle and unused: power-of-two bins never need to be split.
    """

    _setting_names: ClassVar[tuple[str, ...]] = (
        "quant_bits",
        "bins",
        "upsample_bins",
        "hist_percent",
        "symmetric",
        "max_samples_per_item",
    )

    def __init__(
        self,
        quant_bits: int = 8,
        bins: int = DEFAULT_BINS,
        upsample_bins: int = 64,
        hist_percent: float = 0.99999,
        *,
        symmetric: bool | None = None,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
    ) -> None:
        super().__init__(quant_bits, bins, symmetric=symmetric, max_samples_per_item=max_samples_per_item)
        self.upsample_bins = check_upsample_bins(upsample_bins)
        self.hist_percent = check_fraction(hist_percent)

    def _threshold(self, statistics: TensorStatistics) -> float:
        return percentile_threshold(statistics.histogram, self.hist_percent, statistics.abs_max)
