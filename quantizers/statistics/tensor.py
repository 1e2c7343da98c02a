"""What calibration collects of one tensor: one pass, bounded memory, the same however the data was batched or sharded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError
from quantizers.statistics.exact import exact_mean
from quantizers.statistics.histogram import PowerOfTwoHistogram
from quantizers.statistics.moving import MovingAverage
from quantizers.statistics.summary import DEFAULT_BINS, DEFAULT_MAX_SAMPLES, SummarySettings, TensorSummary

__all__ = ["TensorStatistics"]

_STATE_VERSION = 1


class TensorStatistics:
    """Statistics of one tensor over any number of batches.

    ``low``, ``high``, ``abs_max``: exact extremes (floats; before any data +inf, -inf and 0).  ``histogram``: of all elements, or of
    a deterministic strided sample of at most ``max_samples_per_item`` elements per sample.  ``elements``, ``items`` and
    ``batches`` count numbers, samples and updates.  All of it is the same for any batching and order, and `merge` of shards gives
    exactly what one pass would have given.  ``moving_rate`` additionally keeps the moving average of the batches' abs-max
    (``moving``), which depends on order by definition, so such statistics cannot be merged.

    A batch with NaN or Inf is refused, and the statistics stay unusable from then on (``poisoned`` holds the message): a
    calibration that saw one must not end as if it had not.
    """

    def __init__(
        self,
        bins: int = DEFAULT_BINS,
        max_samples_per_item: int | None = DEFAULT_MAX_SAMPLES,
        *,
        moving_rate: float | None = None,
    ) -> None:
        self.settings = SummarySettings(bins, max_samples_per_item)
        self.low = math.inf
        self.high = -math.inf
        self.abs_max = 0.0
        self.elements = 0
        self.items = 0
        self.batches = 0
        self.histogram = PowerOfTwoHistogram(bins)
        self.moving = None if moving_rate is None else MovingAverage(moving_rate)
        self.poisoned = ""
        self._sum_abs_max = 0
        self._sum_low = 0
        self._sum_high = 0

    def add(self, summary: TensorSummary, *, where: str | None = None, batch: int | None = None) -> None:
        """Add one batch.

        ``where`` replaces the summary's own name in messages, ``batch`` the count of calls of this method: a tensor may be seen
        several times in one batch.  Raises ``NonFiniteError`` for NaN or Inf, naming the tensor and the
        batch (counted from 0), and ``ConfigError`` when the summary was made with other settings.
        """
        where = summary.where if where is None else where
        if summary.settings != self.settings:
            raise ConfigError(f"{where}: a summary made with {summary.settings} does not fit statistics of {self.settings}")
        batch = self.batches if batch is None else batch
        self.batches += 1
        if not summary.finite:
            what = "NaN" if math.isnan(summary.low) or math.isnan(summary.high) else "Inf"
            message = f"{where}: batch {batch} holds {what}; fix the data or the model, then calibrate again from the start"
            self.poisoned = self.poisoned or message
            raise NonFiniteError(message)
        self.low = min(self.low, summary.low)
        self.high = max(self.high, summary.high)
        self.abs_max = max(self.abs_max, summary.abs_max)
        self._sum_abs_max += summary.sum_abs_max
        self._sum_low += summary.sum_low
        self._sum_high += summary.sum_high
        self.elements += summary.elements
        self.items += summary.items
        self.histogram.merge(summary.histogram)
        if self.moving is not None:
            self.moving.update(summary.abs_max)

    def update(self, array: Any, items: int | None = None, *, where: str = "tensor") -> None:
        """Summarise one batch (see `TensorSummary.of`, whose errors apply) and `add` it."""
        settings = self.settings
        summary = TensorSummary.of(array, items=items, bins=settings.bins, max_samples_per_item=settings.max_samples_per_item, where=where)
        self.add(summary)

    def merge(self, other: TensorStatistics) -> None:
        """Add what ``other`` (left as it is) saw.

        Raises ``ConfigError`` when settings differ and ``CalibrationError`` when either keeps a moving average.
        """
        if self.moving is not None or other.moving is not None:
            raise CalibrationError(
                "statistics with a moving average depend on the order of batches and cannot be merged; "
                "calibrate in one process, or use AvgAbsmaxQuantizer, which does not"
            )
        if other.settings != self.settings:
            raise ConfigError(f"statistics of {self.settings} and {other.settings} cannot be merged; calibrate both with the same settings")
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        self.abs_max = max(self.abs_max, other.abs_max)
        self._sum_abs_max += other._sum_abs_max
        self._sum_low += other._sum_low
        self._sum_high += other._sum_high
        self.elements += other.elements
        self.items += other.items
        self.batches += other.batches
        self.histogram.merge(other.histogram)
        # The smaller message, so that the result does not depend on the order of merging.
        self.poisoned = min(filter(None, (self.poisoned, other.poisoned)), default="")

    def check_usable(self, where: str = "tensor") -> None:
        """Raise ``NonFiniteError`` when a batch was refused, ``NoCalibrationDataError`` when there was none; both name ``where``."""
        if self.poisoned:
            raise NonFiniteError(self.poisoned)
        if not self.items:
            raise NoCalibrationDataError(f"{where}: no data was sampled; run calibration batches through the model first")

    @property
    def mean_abs_max(self) -> float:
        """Mean over samples of each sample's abs-max.  Raises ``NoCalibrationDataError`` without data (as the two below)."""
        return self._mean(self._sum_abs_max)

    @property
    def mean_low(self) -> float:
        """Mean over samples of each sample's smallest element."""
        return self._mean(self._sum_low)

    @property
    def mean_high(self) -> float:
        """Mean over samples of each sample's largest element."""
        return self._mean(self._sum_high)

    @property
    def zeros(self) -> int:
        """Number of exact zeros among the elements that the histogram counted (``histogram.total`` of them)."""
        return self.histogram.zeros

    def copy(self) -> TensorStatistics:
        """An independent copy."""
        return self.from_state(self.state())

    def state(self) -> dict[str, Any]:
        """All of it: ``meta`` (JSON-able) and ``arrays`` (NumPy arrays by name); `from_state` gives equal statistics."""
        histogram = self.histogram.state()
        meta = {
            "version": _STATE_VERSION,
            "bins": self.settings.bins,
            "max_samples_per_item": self.settings.max_samples_per_item,
            # Before any data the extremes are infinite, which JSON cannot write.
            "low": self.low if self.items else None,
            "high": self.high if self.items else None,
            "abs_max": self.abs_max,
            "elements": self.elements,
            "items": self.items,
            "batches": self.batches,
            # Hundreds of bits long: many JSON readers would round them as numbers.
            "sum_abs_max": hex(self._sum_abs_max),
            "sum_low": hex(self._sum_low),
            "sum_high": hex(self._sum_high),
            "zeros": histogram["zeros"],
            "exponent": histogram["exponent"],
            "poisoned": self.poisoned,
            "moving": None if self.moving is None else self.moving.state(),
        }
        return {"meta": meta, "arrays": {"counts": histogram["counts"]}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TensorStatistics:
        """The statistics that `state` described.  Raises ``ConfigError`` when it describes none or is of another version."""
        try:
            return cls._from_parts(state["meta"], state["arrays"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"this is not the state of tensor statistics: {error!r}") from error

    @classmethod
    def _from_parts(cls, meta: Mapping[str, Any], arrays: Mapping[str, Any]) -> TensorStatistics:
        if meta["version"] != _STATE_VERSION:
            raise ConfigError(f"statistics of version {meta['version']!r} cannot be read, only of version {_STATE_VERSION}")
        result = cls(meta["bins"], meta["max_samples_per_item"])
        histogram = {"counts": arrays["counts"], "zeros": meta["zeros"], "exponent": meta["exponent"]}
        result.histogram = PowerOfTwoHistogram.from_state(histogram)
        if result.histogram.bins != result.settings.bins:
            raise ConfigError(f"a histogram of {result.histogram.bins} bins does not fit statistics of {result.settings.bins}")
        result.low = math.inf if meta["low"] is None else float(meta["low"])
        result.high = -math.inf if meta["high"] is None else float(meta["high"])
        result.abs_max = float(meta["abs_max"])
        result.elements, result.items, result.batches = int(meta["elements"]), int(meta["items"]), int(meta["batches"])
        result._sum_abs_max, result._sum_low, result._sum_high = (int(meta[k], 16) for k in ("sum_abs_max", "sum_low", "sum_high"))
        result.poisoned = str(meta["poisoned"])
        result.moving = None if meta["moving"] is None else MovingAverage.from_state(meta["moving"])
        return result

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorStatistics):
            return NotImplemented
        return self.state()["meta"] == other.state()["meta"] and self.histogram == other.histogram

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TensorStatistics(low={self.low}, high={self.high}, items={self.items}, batches={self.batches})"

    def _mean(self, total: int) -> float:
        self.check_usable()
        return exact_mean(total, self.items)
