"""Rounding to a grid with gradients: the few differentiable functions of training, each with its closed-form backward.

All take and give float32.  ``low`` and ``high`` are the grid's integers counted from its zero point, so that a rounded value is an integer
times the scale: 0 and 255 for an unsigned grid of 8 bits, -128 and 127 for a signed one.  Results are those of `ptq.layers.fake_quantize`:
a value is clipped before the division instead of after the rounding, which makes no difference and lets backward use Paddle's own
kernel for clipped gradients.  Backward costs one pass over the tensor more than that of an identity, and two sums where a step is learned.
"""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle.autograd import PyLayer

from ..util.paddle_private import clipped_gradient

__all__ = ["LearnedRange", "drifted", "learned_step", "moved", "pact", "straight_through", "to_nearest"]


def to_nearest(x: paddle.Tensor, scale: float, low: float, high: float) -> paddle.Tensor:
    """``x`` on the grid, as a new tensor without a gradient; halves to even."""
    rounded = paddle.clip(x, low * scale, high * scale)
    divisor = paddle.full([], scale, "float32")
    return rounded.divide_(divisor).round_().multiply_(divisor)


def straight_through(x: paddle.Tensor, scale: float, low: float, high: float) -> paddle.Tensor:
    """``x`` on a fixed grid; the gradient passes where nothing is clipped (Bengio et al. 2013, arXiv:1308.3432)."""
    result: paddle.Tensor = _StraightThrough.apply(x, scale, low, high)
    return result


class _StraightThrough(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, scale: float, low: float, high: float) -> paddle.Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low * scale, high * scale
        return to_nearest(x, scale, low, high)

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> paddle.Tensor:
        (x,) = ctx.saved_tensor()
        return clipped_gradient(x, gradient, *ctx.bounds)


def learned_step(x: paddle.Tensor, scale: paddle.Tensor, low: float, high: float, offset: paddle.Tensor | None = None) -> paddle.Tensor:
    """``x`` on a grid whose step is learned: LSQ (Esser et al. 2020, arXiv:1902.08153), with an offset LSQ+ (Bhalgat et al. 2020,
    arXiv:2004.09576).

    With ``v = x / scale``, the step's gradient is ``round(v) - v`` inside the grid and ``low`` or ``high`` outside, times that of the
    result, summed and multiplied by ``1 / sqrt(size * high)``.  The offset's is 1 outside and 0 inside.

    Args:
        x: any shape.
        scale: shape [], positive.
        low, high: integers from the zero point.
        offset: shape []; the real number that the grid's smallest integer stands for.  ``low`` and ``high`` have been made of it, so
            that only its gradient is missing.
    """
    if offset is None:
        result: paddle.Tensor = _LearnedStep.apply(x, scale, low, high)
    else:
        result = _LearnedStepAndOffset.apply(x, scale, offset, low, high)
    return result


def _step_gradient(x: paddle.Tensor, rounded: paddle.Tensor, gradient: paddle.Tensor, inside: paddle.Tensor, scale: float) -> paddle.Tensor:
    # sum g (r - v) inside and sum g bound outside is (sum g rounded - sum g_inside x) / scale
    return (_dot(gradient, rounded) - _dot(inside, x)) / scale


def _wanted(ctx: Any, *gradients: paddle.Tensor | None) -> tuple[paddle.Tensor | None, ...]:
    """``None`` in the place of the gradients of tensors that want none, which Paddle refuses to be given."""
    return tuple(None if stopped else gradient for gradient, stopped in zip(gradients, ctx.stopped, strict=True))


def _dot(a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
    return paddle.matmul(a.reshape([1, -1]), b.reshape([-1, 1])).reshape([])


class _LearnedStep(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, scale: paddle.Tensor, low: float, high: float) -> paddle.Tensor:
        step = float(scale)
        rounded = to_nearest(x, step, low, high)
        ctx.save_for_backward(x, rounded)
        ctx.settings = step, low, high
        ctx.stopped = x.stop_gradient, scale.stop_gradient
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, rounded = ctx.saved_tensor()
        step, low, high = ctx.settings
        inside = clipped_gradient(x, gradient, low * step, high * step)
        return _wanted(ctx, inside, _step_gradient(x, rounded, gradient, inside, step) / _damping(x.size, high - low))


class _LearnedStepAndOffset(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, scale: paddle.Tensor, offset: paddle.Tensor, low: float, high: float) -> paddle.Tensor:
        step = float(scale)
        rounded = to_nearest(x, step, low, high)
        ctx.save_for_backward(x, rounded)
        ctx.settings = step, low, high
        ctx.stopped = x.stop_gradient, scale.stop_gradient, offset.stop_gradient
        return rounded

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, rounded = ctx.saved_tensor()
        step, low, high = ctx.settings
        inside = clipped_gradient(x, gradient, low * step, high * step)
        damping = _damping(x.size, high - low)
        outside = gradient.sum() - inside.sum()
        # the bounds are offset and offset + levels * scale: what is outside moves with the offset, and with the step from there
        step_gradient = _step_gradient(x, rounded, gradient, inside, step) - low * outside
        return _wanted(ctx, inside, step_gradient / damping, outside / damping)


def _damping(size: int, levels: float) -> float:
    """What LSQ divides a step's gradient by, so that steps move as fast as weights: ``sqrt(size * largest integer)``."""
    return math.sqrt(size * levels)


def pact(x: paddle.Tensor, alpha: paddle.Tensor, levels_low: float, levels_high: float) -> paddle.Tensor:
    """``x`` clipped at ``alpha`` and rounded (PACT, Choi et al. 2018, arXiv:1805.06085).

    The gradient of ``alpha``, shape [], is that of the clipped elements: 1 above, -1 below where the grid is signed.
    """
    result: paddle.Tensor = _Pact.apply(x, alpha, levels_low, levels_high)
    return result


class _Pact(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, alpha: paddle.Tensor, low: float, high: float) -> paddle.Tensor:
        ctx.save_for_backward(x)
        step = float(alpha) / high
        ctx.settings = step, low, high
        ctx.stopped = x.stop_gradient, alpha.stop_gradient
        return to_nearest(x, step, low, high)

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        (x,) = ctx.saved_tensor()
        step, low, high = ctx.settings
        inside = clipped_gradient(x, gradient, low * step, high * step)
        above = gradient.sum() - clipped_gradient(x, gradient, -math.inf, high * step).sum()
        below = gradient.sum() - clipped_gradient(x, gradient, low * step, math.inf).sum() if low < 0 else 0.0
        return _wanted(ctx, inside, above - below)


class LearnedRange(PyLayer):  # type: ignore[misc]
    """A weight on a symmetric grid with one scale per channel, or one in all; LSQ where ``is_learned``, else straight through.

    ``apply(weight, scale, high, is_learned)``: ``scale`` is positive and broadcasts over the weight; ``high`` is the largest integer.  The
    weight is small, so plain operations do.
    """

    @staticmethod
    def forward(ctx: Any, weight: paddle.Tensor, scale: paddle.Tensor, high: float, is_learned: bool) -> paddle.Tensor:
        position = weight / scale
        levels = paddle.clip(paddle.round(position), -high, high)
        ctx.is_learned, ctx.high = is_learned, high
        ctx.stopped = weight.stop_gradient, scale.stop_gradient
        if is_learned:
            ctx.save_for_backward(position, levels, scale)
        return levels * scale

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        if not ctx.is_learned:
            return _wanted(ctx, gradient, None)
        position, levels, scale = ctx.saved_tensor()
        inside = clipped_gradient(position, gradient, -ctx.high, ctx.high)
        each = gradient * levels - inside * position
        axes = [axis for axis in range(each.ndim) if axis >= scale.ndim or scale.shape[axis] == 1]
        total = (each.sum() if scale.ndim == 0 else each.sum(axes, keepdim=True)).reshape(scale.shape)
        return _wanted(ctx, inside, total / _damping(gradient.size // scale.size, ctx.high))


def drifted(start: paddle.Tensor, drift: paddle.Tensor) -> paddle.Tensor:
    """A learned step, ``start * exp(drift)``: what an optimizer adds to ``drift`` changes it by that fraction, and it stays positive.

    The gradient of ``drift`` is that of the step over the step, at most 1 in magnitude.  So SGD changes the step as LSQ has it, by the
    learning rate times its gradient, but never by more than the learning rate's fraction; Adam changes it by about that fraction.
    Steps of 8 bits are small: without this, one update may leave nothing of them.
    """
    result: paddle.Tensor = _Drifted.apply(start, drift)
    return result


class _Drifted(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, start: paddle.Tensor, drift: paddle.Tensor) -> paddle.Tensor:
        step = start * paddle.exp(drift)
        ctx.save_for_backward(step)
        ctx.stopped = start.stop_gradient, drift.stop_gradient
        return step

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        (step,) = ctx.saved_tensor()
        return _wanted(ctx, None, paddle.clip(gradient / step, -1.0, 1.0))


def moved(start: paddle.Tensor, drift: paddle.Tensor, unit: float) -> paddle.Tensor:
    """A learned offset, ``start + unit * drift``, with the gradient over ``unit`` for ``drift``, at most 1 in magnitude; see `drifted`."""
    result: paddle.Tensor = _Moved.apply(start, drift, unit)
    return result


class _Moved(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, start: paddle.Tensor, drift: paddle.Tensor, unit: float) -> paddle.Tensor:
        ctx.unit = unit
        ctx.stopped = start.stop_gradient, drift.stop_gradient
        return start + drift * unit

    @staticmethod
    def backward(ctx: Any, gradient: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        return _wanted(ctx, None, paddle.clip(gradient / ctx.unit, -1.0, 1.0))
