"""Clip where the quantized distribution keeps the most information."""

from __future__ import annotations

from typing import ClassVar

from quantizers.errors import ConfigError
from quantizers.grids.grid_error import PointMasses
from quantizers.grids.ranges import GridKind, Range, full_range, range_of_threshold
from quantizers.rules.search_error import range_errors
from quantizers.rules.search_kl import kl_levels, kl_threshold
from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.rules.upsample import check_upsample_bins
from quantizers.statistics.summary import DEFAULT_BINS, DEFAULT_MAX_SAMPLES
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["KLQuantizer"]


class KLQuantizer(StatisticsQuantizer):
    """The cut of least Kullback-Leibler divergence over all cut points (see `quantizers.rules.search_kl`).

    KL alone ruins tensors with a long tail, whose few large values matter most.  So with ``mse_guard`` it is kept per tensor only
    where its squared error on the histogram is no worse than that of clipping nothing; ``mse_guard=False`` gives pure KL.
    ``upsample_bins`` is accepted for code written for Paddle and unused: power-of-two bins never need to be split.
    """

    _setting_names: ClassVar[tuple[str, ...]] = (
        "quant_bits",
        "bins",
        "upsample_bins",
        "mse_guard",
        "symmetric",
        "max_samples_per_item",
    )

    def __init__(
        self,
        quant_bits: int = 8,
        bins: int = DEFAULT_BINS,
        upsample_bins: int = 64,
        *,
        mse_guard: bool = True,
        symmetric: bool | None = None,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
    ) -> None:
        super().__init__(quant_bits, bins, symmetric=symmetric, max_samples_per_item=max_samples_per_item)
        self.upsample_bins = check_upsample_bins(upsample_bins)
        if not isinstance(mse_guard, bool):
            raise ConfigError(f"mse_guard must be True or False, got {mse_guard!r}")
        self.mse_guard = mse_guard

    def _range(self, statistics: TensorStatistics, kind: GridKind) -> Range:
        whole = full_range(statistics, kind)
        levels = kl_levels(statistics, kind, self.quant_bits)
        threshold = kl_threshold(statistics.histogram, levels, statistics.abs_max)
        found = range_of_threshold(min(threshold, whole.threshold), statistics, kind)
        if not self.mse_guard or found == whole:
            return found
        masses = PointMasses.of(statistics.histogram)
        with_kl, without = range_errors(masses, [found.low, whole.low], [found.high, whole.high], kind, self.quant_bits)
        return found if with_kl <= without else whole
