"""Grids of weights: symmetric, without the most negative integer, one scale per channel or one in all."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers import BaseQuantizer, PerChannelQuantizer, QParams
from quantizers.errors import NonFiniteError

from ...layers import IntegerWeight
from ..ranks import same_on_all_ranks
from ..rounding import LearnedRange, drifted
from .base import TINY, GridInTraining
from .observed import check_rate, check_window

__all__ = ["AbsMaxWeightGrid", "LSQWeightGrid", "MovingAverageWeightGrid", "WeightGrid", "WindowWeightGrid"]


class WeightGrid(GridInTraining):
    """The grid of one weight.

    Args:
        rule: as `GridInTraining`; one of `PerChannelQuantizer` gives a scale per channel.
        place: what messages call the weight.
        shape: of the weight.
        axis: of its channels.
    """

    is_learned = False

    def __init__(self, rule: BaseQuantizer, place: str, shape: Any, axis: int) -> None:
        super().__init__(rule, place)
        self.axis = axis if isinstance(rule, PerChannelQuantizer) else None
        self.scale_shape = [] if self.axis is None else [size if index == axis else 1 for index, size in enumerate(shape)]

    @property
    def high(self) -> int:
        """The largest integer."""
        return int(2 ** (self.num_bits - 1) - 1)

    def forward(self, weight: paddle.Tensor) -> paddle.Tensor:
        """The weight on its grid, float32."""
        if weight.dtype != paddle.float32:
            weight = weight.astype("float32")
        if not self.is_ready:
            self.start(weight)
        if self.training:
            self.observe(weight)
        return LearnedRange.apply(weight, self.scales(weight), float(self.high), self.is_learned)

    def start(self, weight: paddle.Tensor) -> None:
        """Takes the first range from the weight itself."""
        del weight
        self.set_ready()

    def observe(self, weight: paddle.Tensor) -> None:
        """Looks at the weight in training."""

    def scales(self, weight: paddle.Tensor) -> paddle.Tensor:
        """Positive float32 scales that broadcast over the weight."""
        raise NotImplementedError(f"{type(self).__name__} must define scales(weight)")

    def integers_of(self, weight: paddle.Tensor) -> IntegerWeight:
        """The weight as it is now, float32, on the grid."""
        return IntegerWeight.nearest(weight.numpy(), self.qparams_of(weight))

    def qparams_of(self, weight: paddle.Tensor) -> QParams:
        """The grid as the engine has it, for the weight as it is now, float32."""
        if not self.is_ready:
            self.start(weight)
        scale = self.checked_scale(self.scales(weight).detach())
        scale = scale.reshape([] if self.axis is None else [-1])
        return QParams(scale, np.zeros(scale.shape, np.int32), -self.high, self.high, self.num_bits, self.axis)

    def abs_max(self, weight: paddle.Tensor) -> paddle.Tensor:
        """The largest magnitude, of each channel where these have scales, in the shape of the scales."""
        magnitude = weight.detach().abs()
        if self.axis is None:
            return magnitude.max()
        return magnitude.max([axis for axis in range(weight.ndim) if axis != self.axis], keepdim=True)

    def steps_of(self, abs_max: paddle.Tensor) -> paddle.Tensor:
        """The scales of grids that end there; 1 for a channel of zeros."""
        return paddle.where(abs_max > 0, paddle.clip(abs_max / self.high, min=TINY), paddle.ones([]))


class AbsMaxWeightGrid(WeightGrid):
    """The grid ends at the weight's largest magnitude, whatever that is in a step."""

    def scales(self, weight: paddle.Tensor) -> paddle.Tensor:
        """Of the weight now."""
        return self.steps_of(self.abs_max(weight))


class LSQWeightGrid(WeightGrid):
    """The scales are learned: LSQ (Esser et al. 2020, arXiv:1902.08153).

    Parameter ``drift`` and buffer ``first_step``, in the shape of the scales, which are ``first_step * exp(drift)``.
    """

    is_learned = True

    def __init__(self, rule: BaseQuantizer, place: str, shape: Any, axis: int) -> None:
        super().__init__(rule, place, shape, axis)
        self.register_buffer("first_step", paddle.ones(self.scale_shape))
        self.drift = self.create_parameter(self.scale_shape, default_initializer=nn.initializer.Constant(0.0))

    def start(self, weight: paddle.Tensor) -> None:
        """Takes the range of the rule."""
        with paddle.no_grad():
            self.rule.reset()
            self.rule.quant_axis = self.axis
            self.rule.sample_data(None, (weight.detach(),))
            self.rule.cal_thresholds()
            (grid,) = self.rule.qparams
            self.rule.reset()
        scale = same_on_all_ranks(grid.scale)
        self.first_step.set_value(paddle.to_tensor(scale.reshape(self.scale_shape)))
        self.set_ready()

    def scales(self, weight: paddle.Tensor) -> paddle.Tensor:
        """The learned ones."""
        del weight
        return drifted(self.first_step, self.drift)


class MovingAverageWeightGrid(WeightGrid):
    """The moving average of the weight's abs-max from step to step.  Buffer ``scale``, in the shape of the scales."""

    setting_names = ("rate",)

    def __init__(self, rule: BaseQuantizer, place: str, shape: Any, axis: int, rate: float = 0.9) -> None:
        super().__init__(rule, place, shape, axis)
        self.rate = check_rate(rate)
        self.register_buffer("scale", paddle.ones(self.scale_shape))

    def start(self, weight: paddle.Tensor) -> None:
        """Takes the weight's abs-max."""
        self.scale.set_value(self._now(weight))
        self.set_ready()

    def observe(self, weight: paddle.Tensor) -> None:
        """Moves the range towards the weight's."""
        self.scale.set_value(self.rate * self.scale + (1 - self.rate) * self._now(weight))

    def scales(self, weight: paddle.Tensor) -> paddle.Tensor:
        """The average."""
        del weight
        return self.scale

    def _now(self, weight: paddle.Tensor) -> paddle.Tensor:
        found = self.steps_of(self.abs_max(weight))
        if not bool(paddle.isfinite(found).all()):
            raise NonFiniteError(f"{self.place} holds NaN or Inf; train with a smaller learning rate")
        return found


class WindowWeightGrid(MovingAverageWeightGrid):
    """The largest abs-max of the last ``size`` steps.  Buffers ``window``, ``[size, ...]``, and ``seen``, []."""

    setting_names = ("size",)

    def __init__(self, rule: BaseQuantizer, place: str, shape: Any, axis: int, size: int = 10000) -> None:
        super().__init__(rule, place, shape, axis)
        self.size = check_window(size)
        self.register_buffer("window", paddle.zeros([self.size, *self.scale_shape]))
        self.register_buffer("seen", paddle.zeros([]))

    def observe(self, weight: paddle.Tensor) -> None:
        """Takes the weight's range into the window."""
        seen = int(self.seen)
        self.window[seen % self.size] = self._now(weight)
        self.seen.set_value(paddle.full([], seen + 1.0, "float32"))
        self.scale.set_value(self.window.max(0))
