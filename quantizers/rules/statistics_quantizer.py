"""Quantizers of activations: `TensorStatistics` per sampled tensor, and a rule that turns them into ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError
from quantizers.grids.qparams import QParams
from quantizers.grids.ranges import GridKind, Range, full_range, grid_kind, grid_of_range, range_of_threshold
from quantizers.rules.base import BaseQuantizer, Threshold, as_tensors
from quantizers.statistics.histogram import CountArray
from quantizers.statistics.summary import DEFAULT_BINS, DEFAULT_MAX_SAMPLES, SummarySettings, TensorSummary
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["StatisticsQuantizer"]

_Self = TypeVar("_Self", bound="StatisticsQuantizer")


class StatisticsQuantizer(BaseQuantizer):
    """Base of the quantizers that choose one range per tensor from its `TensorStatistics`.

    A subclass defines ``_threshold(statistics)`` (or ``_range(statistics, kind)``).  Because all of them read the same statistics, one can
    take over another's: `adopt`.

    ``symmetric``: whether a tensor with negative values gets a signed grid with zero point 0; otherwise it gets a zero point; None is the
    class's own default, ``symmetric_by_default``.
    Non-negative tensors get an unsigned grid with zero point 0 either way.  ``bins`` and ``max_samples_per_item`` as in
    `TensorSummary.of`; they are part of what `adopt` takes over.  Raises ``ConfigError`` for settings out of range.
    """

    statistics: list[TensorStatistics]
    moving_rate: float | None = None
    symmetric_by_default: ClassVar[bool] = False

    _setting_names: ClassVar[tuple[str, ...]] = ("quant_bits", "bins", "symmetric", "max_samples_per_item")

    def __init__(
        self,
        quant_bits: int = 8,
        bins: int = DEFAULT_BINS,
        *,
        symmetric: bool | None = None,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
    ) -> None:
        super().__init__(quant_bits)
        if symmetric is not None and not isinstance(symmetric, bool):
            raise ConfigError(f"symmetric must be True, False or None, got {symmetric!r}")
        self.symmetric = self.symmetric_by_default if symmetric is None else symmetric
        self.summary_settings = SummarySettings(bins, max_samples_per_item)
        self.statistics = []
        self._ranges: list[Range] = []
        self._kinds: list[GridKind] = []

    @property
    def bins(self) -> int:
        """Resolution of the histogram."""
        return self.summary_settings.bins

    @property
    def max_samples_per_item(self) -> int | None:
        """How many elements of each sample feed the histogram; None means all."""
        return self.summary_settings.max_samples_per_item

    def sample_data(self, layer: Any, tensors: Any) -> None:
        """Add one batch of each tensor; a sample is an index of axis 0.

        Raises ``UnsupportedDtypeError``, ``ShapeError``, ``NonFiniteError`` (naming layer and batch), and ``CalibrationError`` when the
        number of tensors changed between calls.
        """
        settings = self.summary_settings
        found = as_tensors(tensors)
        names = _numbered(self.where(layer), len(found))
        summaries = [
            TensorSummary.of(tensor, bins=settings.bins, max_samples_per_item=settings.max_samples_per_item, where=name)
            for tensor, name in zip(found, names, strict=True)
        ]
        self.sample_summaries(summaries)

    def sample_summaries(self, summaries: Iterable[TensorSummary], *, batch: int | None = None) -> None:
        """Add one batch that is already summarised, with this quantizer's ``summary_settings``; raises as `sample_data` does.

        ``batch``: its number for messages.
        """
        found = as_tensors(tuple(summaries))
        if not self.statistics:
            settings = self.summary_settings
            self.statistics = [TensorStatistics(settings.bins, settings.max_samples_per_item, moving_rate=self.moving_rate) for _ in found]
        if len(found) != len(self.statistics):
            raise CalibrationError(
                f"{self.where()}: {len(found)} tensors now, but {len(self.statistics)} in earlier batches; "
                "call reset() before sampling another layer"
            )
        names = _numbered(self.name, len(found)) if self.name else [summary.where for summary in found]
        for statistics, summary, name in zip(self.statistics, found, names, strict=True):
            statistics.add(summary, where=name, batch=batch)
        self.abs_max_vals = [statistics.abs_max for statistics in self.statistics]

    def adopt(self: _Self, statistics: Iterable[TensorStatistics]) -> _Self:
        """Work from copies of ``statistics`` that another quantizer or a calibration file holds, one per tensor; returns self.

        Their resolution becomes this quantizer's.  Raises ``ConfigError`` when they lack what this one needs.
        """
        adopted = [entry.copy() for entry in statistics]
        for entry in adopted:
            if self.moving_rate is not None and entry.moving is None:
                raise ConfigError(f"{self.where()}: {type(self).__name__} needs a moving average, which these statistics do not keep")
        self.reset()
        self.statistics = adopted
        self.abs_max_vals = [entry.abs_max for entry in adopted]
        if adopted:
            self.summary_settings = adopted[0].settings
        return self

    def cal_thresholds(self) -> None:
        """Set ``thresholds`` (floats) and the ranges behind ``qparams`` from the statistics, which stay as they are.

        Raises ``NoCalibrationDataError`` without data and ``NonFiniteError`` when a batch held NaN or Inf.
        """
        if not self.statistics:
            raise NoCalibrationDataError(f"{self.where()}: no data was sampled; run calibration batches through the model first")
        for statistics in self.statistics:
            statistics.check_usable(self.where())
        self._kinds = [self._kind(statistics) for statistics in self.statistics]
        self._ranges = [self._useful(self._range(entry, kind), kind) for entry, kind in zip(self.statistics, self._kinds, strict=True)]
        self.thresholds = [bounds.threshold for bounds in self._ranges]

    @property
    def hists(self) -> list[CountArray]:
        """int64 ``[N]`` per tensor: counts of magnitudes without exact zeros (see `PowerOfTwoHistogram`)."""
        return [statistics.histogram.magnitude_counts for statistics in self.statistics]

    def reset(self) -> None:
        """Forget all data and thresholds; settings stay."""
        super().reset()
        self.statistics = []
        self._ranges = []
        self._kinds = []

    def release(self) -> None:
        """Forget all data; thresholds and the grids behind `qparams` stay."""
        self.statistics = []

    def kind(self) -> GridKind:
        """The kind of grid that the first sampled tensor gets; raises ``NoCalibrationDataError`` without data."""
        if not self.statistics:
            raise NoCalibrationDataError(f"{self.where()}: no data was sampled; run calibration batches through the model first")
        return self._kind(self.statistics[0])

    def _kind(self, statistics: TensorStatistics) -> GridKind:
        # Weights are stored as signed integers, also the few tensors that happen to have no negative element.
        if self.is_weight:
            return "symmetric"
        return grid_kind(statistics, symmetric=self.symmetric, nonnegative=self.nonnegative)

    def _range(self, statistics: TensorStatistics, kind: GridKind) -> Range:
        whole = full_range(statistics, kind)
        return range_of_threshold(min(self._threshold(statistics), whole.threshold), statistics, kind)

    def _useful(self, bounds: Range, kind: GridKind) -> Range:
        if self.useful_range is None or kind != "asymmetric":
            return bounds
        low, high = self.useful_range
        return Range(min(max(bounds.low, low), 0.0), max(min(bounds.high, high), 0.0))

    def _threshold(self, statistics: TensorStatistics) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define _threshold(statistics)")

    def _grid(self, index: int, threshold: Threshold) -> QParams:
        if isinstance(threshold, list) or self.is_weight:
            return super()._grid(index, threshold)
        if index < len(self._ranges) and self._ranges[index].threshold == threshold:
            return grid_of_range(self._ranges[index], self._kinds[index], self.quant_bits)
        if index >= len(self.statistics):
            return super()._grid(index, threshold)
        # Someone set thresholds by hand: they count.
        kind = self._kind(self.statistics[index])
        return grid_of_range(range_of_threshold(threshold, self.statistics[index], kind), kind, self.quant_bits)


def _numbered(where: str, count: int) -> list[str]:
    return [where] if count == 1 else [f"{where}, tensor {index}" for index in range(count)]
