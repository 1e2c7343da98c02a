"""Activation ranges that are parameters: LSQ, LSQ+ and PACT."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers import BaseQuantizer, QParams

from ..rounding import drifted, learned_step, moved, pact
from .base import TINY, ActivationGridInTraining

__all__ = ["LSQGrid", "LSQPlusGrid", "PACTGrid"]


class LSQGrid(ActivationGridInTraining):
    """The step is learned: LSQ (Esser et al. 2020, arXiv:1902.08153).

    Parameter ``drift`` and buffer ``first_step``, float32 []: the step is ``first_step * exp(drift)``, see `rounding.drifted`.
    """

    def __init__(self, rule: BaseQuantizer, place: str) -> None:
        super().__init__(rule, place)
        self.register_buffer("first_step", paddle.ones([]))
        self.drift = self.create_parameter([], dtype="float32", default_initializer=nn.initializer.Constant(0.0))

    def set_scale(self, scale: float) -> None:
        """Starts from this step."""
        self.first_step.set_value(paddle.full([], scale, "float32"))
        self.drift.set_value(paddle.zeros([]))

    def scale_value(self) -> paddle.Tensor:
        """The step, positive."""
        return drifted(self.first_step, self.drift)

    def rounded(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid."""
        return learned_step(x, self.scale_value(), *self.bounds())


class LSQPlusGrid(LSQGrid):
    """Step and offset are learned: LSQ+ (Bhalgat et al. 2020, arXiv:2004.09576); for tensors with a few negative values.

    Parameter ``offset_drift`` and buffer ``first_offset``, float32 []: the real number of the smallest integer is ``first_offset`` and the
    drift in units of the first range.  It is rounded to whole steps, so that zero is exact.
    """

    def __init__(self, rule: BaseQuantizer, place: str) -> None:
        super().__init__(rule, place)
        self.register_buffer("first_offset", paddle.zeros([]))
        self.offset_drift = self.create_parameter([], dtype="float32", default_initializer=nn.initializer.Constant(0.0))

    def set_scale(self, scale: float) -> None:
        """Starts from this step and the zero point."""
        super().set_scale(scale)
        self.first_offset.set_value(paddle.full([], -float(self.zero_point) * scale, "float32"))
        self.offset_drift.set_value(paddle.zeros([]))

    def offset(self) -> paddle.Tensor:
        """The real number of the smallest integer, before it is rounded to whole steps."""
        return moved(self.first_offset, self.offset_drift, float(self.first_step) * self.levels)

    def zero_of(self, offset: paddle.Tensor, step: paddle.Tensor) -> float:
        """The zero point that an offset means."""
        return float(np.clip(np.rint(-float(offset) / float(step)), 0, self.levels))

    def rounded(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid."""
        step, offset = self.scale_value(), self.offset()
        zero = self.zero_of(offset, step)
        return learned_step(x, step, -zero, self.levels - zero, offset)

    def qparams(self) -> QParams:
        """The grid, its zero point that of the offset now."""
        self.require_ready()
        self.zero_point.set_value(paddle.full([], self.zero_of(self.offset(), self.scale_value()), "float32"))
        return super().qparams()


class PACTGrid(ActivationGridInTraining):
    """The clipping range is learned: PACT (Choi et al. 2018, arXiv:1805.06085).  Parameter ``alpha``, float32 []."""

    def __init__(self, rule: BaseQuantizer, place: str) -> None:
        super().__init__(rule, place)
        # decayed like weights, which is part of the method: alpha shrinks until what it clips matters
        self.alpha = self.create_parameter([], dtype="float32", default_initializer=nn.initializer.Constant(1.0))

    def set_scale(self, scale: float) -> None:
        """Starts from the range of this step."""
        self.alpha.set_value(paddle.full([], scale * self.bounds()[1], "float32"))

    def scale_value(self) -> Any:
        """The range over the largest integer, in float64, rounded once."""
        return np.float32(max(float(self.alpha), TINY) / self.bounds()[1])

    def rounded(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid."""
        return pact(x, paddle.clip(self.alpha, min=TINY), *self.bounds())
