"""Activation ranges that follow the data: moving average, the last batches, each batch; and ranges that stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from quantizers import BaseQuantizer, QParams
from quantizers.errors import ConfigError, NonFiniteError

from ..ranks import largest_on_all_ranks
from ..rounding import straight_through
from .base import TINY, ActivationGridInTraining

__all__ = ["BatchGrid", "FixedGrid", "MovingAverageGrid", "WindowGrid", "check_rate", "check_window"]


def check_rate(rate: Any) -> float:
    """The rate, if it lies between 0 and 1, else raises `ConfigError`."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < 1:
        raise ConfigError(f"moving_rate must be a number between 0 and 1, got {rate!r}")
    return float(rate)


def check_window(size: Any) -> int:
    """The number of batches, if it is a positive int, else raises `ConfigError`."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigError(f"window_size must be a positive int, got {size!r}")
    return size


class FixedGrid(ActivationGridInTraining):
    """The range of calibration, or of the first batch, which stays.

    Buffers:
        scale: float32 [], the step.
    """

    def __init__(self, rule: BaseQuantizer, place: str) -> None:
        super().__init__(rule, place)
        self.register_buffer("scale", paddle.ones([]))

    def set_scale(self, scale: float) -> None:
        """Takes the step."""
        self.scale.set_value(paddle.full([], scale, "float32"))

    def scale_value(self) -> Any:
        """The step."""
        return self.scale

    def rounded(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid."""
        return straight_through(x, max(float(self.scale), TINY), *self.bounds())

    def abs_max(self, x: paddle.Tensor) -> float:
        """The largest magnitude of a batch, on all ranks; raises `NonFiniteError` for NaN or Inf."""
        x = x.detach()
        largest = paddle.maximum(x.max(), -x.min()) if float(self.zero_point) else x.max()
        value = float(largest_on_all_ranks(largest))
        if not np.isfinite(value):
            raise NonFiniteError(f"{self.place} holds NaN or Inf; train with a smaller learning rate, or check the data")
        return max(value, 0.0)

    def step_of(self, abs_max: float) -> float:
        """The step of the grid that ends there."""
        return float(np.float32(abs_max / self.bounds()[1])) if abs_max > 0 else 1.0


class MovingAverageGrid(FixedGrid):
    """The moving average of the batches' abs-max: ``rate`` is how much the past weighs (Jacob et al. 2018, arXiv:1712.05877, 3.1)."""

    setting_names = ("rate",)

    def __init__(self, rule: BaseQuantizer, place: str, rate: float = 0.9) -> None:
        super().__init__(rule, place)
        self.rate = check_rate(rate)

    def observe(self, x: paddle.Tensor) -> None:
        """Moves the range towards that of the batch."""
        self.set_scale(self.rate * float(self.scale) + (1 - self.rate) * self.step_of(self.abs_max(x)))

    def extra_repr(self) -> str:
        """Width and rate."""
        return f"{super().extra_repr()}, rate={self.rate}"


class WindowGrid(FixedGrid):
    """The largest abs-max of the last ``size`` batches (Paddle's ``range_abs_max``).

    Buffers:
        window: float32 [size], the abs-max of the last batches; 0 for those to come.
        seen: float32 [], how many there were.
    """

    setting_names = ("size",)

    def __init__(self, rule: BaseQuantizer, place: str, size: int = 10000) -> None:
        super().__init__(rule, place)
        self.size = check_window(size)
        self.register_buffer("window", paddle.zeros([self.size]))
        self.register_buffer("seen", paddle.zeros([]))

    def start(self, grid: QParams) -> None:
        """Takes the first range, which leaves the window like any batch's."""
        super().start(grid)
        self._note(float(self.scale) * self.bounds()[1])

    def observe(self, x: paddle.Tensor) -> None:
        """Takes the batch into the window."""
        self._note(self.abs_max(x))
        self.set_scale(self.step_of(float(self.window.max())))

    def _note(self, abs_max: float) -> None:
        seen = int(self.seen)
        self.window[seen % self.size] = abs_max
        self.seen.set_value(paddle.full([], seen + 1.0, "float32"))


class BatchGrid(MovingAverageGrid):
    """In training each batch has its own abs-max (Paddle's ``abs_max``); what stays for eval mode and the artifact is their average."""

    def __init__(self, rule: BaseQuantizer, place: str, rate: float = 0.9) -> None:
        super().__init__(rule, place, rate)
        self._own = 0.0

    def observe(self, x: paddle.Tensor) -> None:
        """Notes the range of the batch."""
        self._own = self.step_of(self.abs_max(x))
        self.set_scale(self.rate * float(self.scale) + (1 - self.rate) * self._own)

    def rounded(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid of the batch, or in eval mode on the one that stays."""
        return straight_through(x, self._own, *self.bounds()) if self.training else super().rounded(x)
