"""The moving average of a tensor's abs-max over batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantizers.errors import ConfigError, NoCalibrationDataError

__all__ = ["MovingAverage"]


class MovingAverage:
    """Exponential moving average without start-up bias, as in Paddle's ``moving_average_abs_max_scale`` operator.

    ``accumulator = rate * accumulator + value``, ``weight = rate * weight + 1``, ``value = accumulator / weight``.
    Raises ``ConfigError`` unless ``0 < rate < 1``.
    """

    def __init__(self, rate: float = 0.9) -> None:
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating)) or not 0 < rate < 1:
            raise ConfigError(f"moving_rate must be a number between 0 and 1, got {rate!r}")
        self.rate = float(rate)
        self.accumulator = 0.0
        self.weight = 0.0

    def update(self, value: float) -> None:
        """Add the next batch's value."""
        self.accumulator = self.rate * self.accumulator + value
        self.weight = self.rate * self.weight + 1.0

    @property
    def value(self) -> float:
        """The average so far.  Raises ``NoCalibrationDataError`` before the first update."""
        if not self.weight:
            raise NoCalibrationDataError("a moving average of no batches; run calibration batches first")
        return self.accumulator / self.weight

    def state(self) -> dict[str, float]:
        """JSON-able content for `from_state`."""
        return {"rate": self.rate, "accumulator": self.accumulator, "weight": self.weight}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MovingAverage:
        """The average that `state` described."""
        result = cls(state["rate"])
        result.accumulator = float(state["accumulator"])
        result.weight = float(state["weight"])
        return result
