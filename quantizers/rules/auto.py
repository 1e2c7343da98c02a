"""Several rules for one tensor, of which the best is kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

from quantizers.errors import ConfigError, NoCalibrationDataError
from quantizers.grids.grid_error import squared_error
from quantizers.grids.qparams import QParams
from quantizers.grids.ranges import GridKind, Range, grid_of_range
from quantizers.rules.hist import HistQuantizer
from quantizers.rules.kl import KLQuantizer
from quantizers.rules.minmax import MinMaxQuantizer
from quantizers.rules.mse import MSEQuantizer
from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.statistics.summary import DEFAULT_BINS, DEFAULT_MAX_SAMPLES
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["AutoQuantizer"]


def default_candidates() -> list[StatisticsQuantizer]:
    """The default rule first, then rules that clip less and more than it."""
    return [KLQuantizer(), MinMaxQuantizer(), HistQuantizer(), HistQuantizer(hist_percent=0.9999), MSEQuantizer()]


class AutoQuantizer(StatisticsQuantizer):
    """Tries every candidate rule on the tensor's statistics and keeps one.

    Inside the engine the choice is made by what each candidate does to the outputs of layer and model on retained calibration
    samples (`ptq.convert.choose_ranges`), which sets ``chosen``.  On its own the quantizer keeps the candidate of least squared error on
    the histogram.

    ``candidates``: quantizers, the first of which is the default rule (all of this project's when None); they get this quantizer's
    ``quant_bits``, and the kind of grid that its settings ask for.  Raises ``ConfigError`` for an empty list and for what is no
    `StatisticsQuantizer`.
    """

    chosen: int | None = None

    _setting_names: ClassVar[tuple[str, ...]] = ("quant_bits", "bins", "candidates", "symmetric", "max_samples_per_item")

    def __init__(
        self,
        quant_bits: int = 8,
        bins: int = DEFAULT_BINS,
        *,
        candidates: Sequence[StatisticsQuantizer] | None = None,
        symmetric: bool | None = None,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
    ) -> None:
        super().__init__(quant_bits, bins, symmetric=symmetric, max_samples_per_item=max_samples_per_item)
        if candidates is not None and not isinstance(candidates, Sequence):
            raise ConfigError(f"candidates must be a list of quantizers, got {candidates!r}")
        found = default_candidates() if candidates is None else [copy.deepcopy(entry) for entry in candidates]
        if not found or not all(isinstance(entry, StatisticsQuantizer) and entry.moving_rate is None for entry in found):
            raise ConfigError(f"candidates must be quantizers that choose from the same statistics, got {candidates!r}")
        self.candidates = found

    def candidate_grids(self) -> list[QParams]:
        """The grid of each candidate, in their order, for the first sampled tensor.  Raises ``NoCalibrationDataError`` without data."""
        if not self.statistics:
            raise NoCalibrationDataError(f"{self.where()}: no data was sampled; run calibration batches through the model first")
        kind = self._kind(self.statistics[0])
        ranges = self._candidate_ranges(self.statistics[0], kind)
        return [grid_of_range(self._useful(bounds, kind), kind, self.quant_bits) for bounds in ranges]

    def choose(self, index: int) -> None:
        """Keep the candidate of that index."""
        self.chosen = index
        self.cal_thresholds()

    def reset(self) -> None:
        """Forget all data, thresholds and the choice; settings stay."""
        super().reset()
        self.chosen = None

    def settings(self) -> dict[str, Any]:
        """The type's name and the settings, JSON-able, with those of the candidates."""
        return {**super().settings(), "candidates": [candidate.settings() for candidate in self.candidates]}

    def _candidate_ranges(self, statistics: TensorStatistics, kind: GridKind) -> list[Range]:
        for candidate in self.candidates:
            candidate.quant_bits = self.quant_bits
        return [candidate._range(statistics, kind) for candidate in self.candidates]

    def _range(self, statistics: TensorStatistics, kind: GridKind) -> Range:
        ranges = self._candidate_ranges(statistics, kind)
        if self.chosen is not None:
            return ranges[self.chosen]
        return min(ranges, key=lambda bounds: squared_error(statistics, grid_of_range(bounds, kind, self.quant_bits)))
