"""Rounding with gradients, held against closed forms and finite differences in float64."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ptq.layers import fake_quantize
from ptq.training.rounding import LearnedRange, drifted, learned_step, moved, pact, straight_through, to_nearest

LOW, HIGH = -8.0, 7.0
H = 1e-6


@pytest.fixture
def x() -> paddle.Tensor:
    values = np.random.default_rng(1).standard_normal((4, 5, 3)) * 3
    tensor = paddle.to_tensor(values, dtype="float32")
    tensor.stop_gradient = False
    return tensor


@pytest.fixture
def upstream() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((4, 5, 3))


def parameter(value: float) -> paddle.Tensor:
    made = paddle.to_tensor(value, dtype="float32")
    made.stop_gradient = False
    return made


def run(result: paddle.Tensor, upstream: np.ndarray) -> None:
    result.backward(paddle.to_tensor(upstream, dtype="float32"))


def slope(function: object, at: float) -> float:
    return (function(at + H) - function(at - H)) / (2 * H)  # type: ignore[operator]


@pytest.mark.parametrize(("zero", "bits"), [(0, 8), (128, 8), (100, 8), (8, 4), (1, 2)])
def test_rounds_as_the_engine_does(x: paddle.Tensor, zero: int, bits: int) -> None:
    scale = paddle.to_tensor(0.0371)
    levels = 2**bits - 1
    expected = fake_quantize(x, scale, paddle.to_tensor(float(zero)), 0, levels)
    assert paddle.equal_all(to_nearest(x, float(scale), -zero, levels - zero), expected)


def test_straight_through_passes_the_gradient_of_what_is_not_clipped(x: paddle.Tensor, upstream: np.ndarray) -> None:
    run(straight_through(x, 0.25, LOW, HIGH), upstream)
    inside = (x.numpy() > LOW * 0.25) & (x.numpy() < HIGH * 0.25)
    np.testing.assert_allclose(x.grad.numpy(), upstream * inside, rtol=1e-6)


def frozen_rounding(x: np.ndarray, scale: float, low: float, high: float) -> object:
    """LSQ's function of the step: what rounding added stays as it is at ``scale``, which is what straight through means."""
    v = x / scale
    residual = np.rint(v) - v
    inside = (v > low) & (v < high)
    bound = np.where(v >= high, high, low)
    return lambda s: np.where(inside, x + residual * s, bound * s)


def test_the_gradient_of_a_learned_step(x: paddle.Tensor, upstream: np.ndarray) -> None:
    scale = parameter(0.25)
    run(learned_step(x, scale, LOW, HIGH), upstream)
    function = frozen_rounding(x.numpy().astype(np.float64), 0.25, LOW, HIGH)
    expected = slope(lambda s: (upstream * function(s)).sum(), 0.25) / np.sqrt(x.size * (HIGH - LOW))  # type: ignore[operator]
    assert float(scale.grad) == pytest.approx(expected, rel=1e-4)
    v = x.numpy().astype(np.float64) / 0.25
    closed = np.where(v <= LOW, LOW, np.where(v >= HIGH, HIGH, np.rint(v) - v))
    assert float(scale.grad) == pytest.approx((upstream * closed).sum() / np.sqrt(x.size * (HIGH - LOW)), rel=1e-4)
    np.testing.assert_allclose(x.grad.numpy(), upstream * ((v > LOW) & (v < HIGH)), rtol=1e-6)


def test_the_gradients_of_a_learned_step_and_offset(x: paddle.Tensor, upstream: np.ndarray) -> None:
    scale, offset = parameter(0.25), parameter(-0.75)
    low, high = -3.0, 12.0  # the offset is three steps below zero
    run(learned_step(x, scale, low, high, offset), upstream)
    values, levels = x.numpy().astype(np.float64), high - low
    v = (values + 0.75) / 0.25
    residual, inside = np.rint(v) - v, (v > 0) & (v < levels)

    def function(s: float, b: float) -> float:
        return float((upstream * np.where(inside, values + residual * s, b + np.where(v >= levels, levels, 0.0) * s)).sum())

    damping = np.sqrt(x.size * levels)
    assert float(scale.grad) == pytest.approx(slope(lambda s: function(s, -0.75), 0.25) / damping, rel=1e-4)
    assert float(offset.grad) == pytest.approx(slope(lambda b: function(0.25, b), -0.75) / damping, rel=1e-4)


@pytest.mark.parametrize("low", [0.0, LOW])
def test_the_gradient_of_a_clipping_range(x: paddle.Tensor, upstream: np.ndarray, low: float) -> None:
    alpha = parameter(1.5)
    run(pact(x, alpha, low, HIGH), upstream)
    ratio = low / HIGH
    expected = slope(lambda a: (upstream * np.clip(x.numpy().astype(np.float64), 0 if low == 0 else -a, a)).sum(), 1.5)
    # below a signed range the bound is -8/7 of alpha; PACT's own range is symmetric
    below = x.numpy() <= ratio * 1.5
    between = (x.numpy() > ratio * 1.5) & (x.numpy() < -1.5)
    if low:
        expected += (upstream * between).sum()
    assert float(alpha.grad) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(x.grad.numpy(), upstream * (~below & (x.numpy() < 1.5)), rtol=1e-6)


@pytest.mark.parametrize("shape", [[], [4, 1, 1], [1, 5, 1]])
def test_the_gradients_of_a_weight(x: paddle.Tensor, upstream: np.ndarray, shape: list[int]) -> None:
    scales = paddle.to_tensor(np.random.default_rng(3).uniform(0.2, 0.5, shape), dtype="float32")
    scales.stop_gradient = False
    rounded = LearnedRange.apply(x, scales, 7.0, True)
    s = scales.numpy().astype(np.float64)
    v = x.numpy() / s
    np.testing.assert_allclose(rounded.numpy(), np.clip(np.rint(v), -7, 7) * s, rtol=1e-6)
    run(rounded, upstream)
    each = upstream * np.where(np.abs(v) >= 7, np.sign(v) * 7, np.rint(v) - v)
    axes = tuple(axis for axis in range(3) if not shape or shape[axis] == 1)
    expected = each.sum(axes, keepdims=bool(shape)) / np.sqrt(x.size / max(s.size, 1) * 7)
    np.testing.assert_allclose(scales.grad.numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(x.grad.numpy(), upstream * (np.abs(v) < 7), rtol=1e-6)


def test_a_weight_that_is_not_learned_lets_every_gradient_through(x: paddle.Tensor, upstream: np.ndarray) -> None:
    run(LearnedRange.apply(x, paddle.to_tensor(0.25), 7.0, False), upstream)
    np.testing.assert_allclose(x.grad.numpy(), upstream, rtol=1e-6)


def test_a_step_drifts_by_fractions_of_itself_and_stays_positive() -> None:
    drift = parameter(0.0)
    step = drifted(paddle.to_tensor(0.01), drift)
    step.backward(paddle.to_tensor(0.004))
    assert float(step) == pytest.approx(0.01)
    assert float(drift.grad) == pytest.approx(0.4)
    drift.clear_grad()
    drifted(paddle.to_tensor(0.01), drift).backward(paddle.to_tensor(-5.0))
    assert float(drift.grad) == -1.0
    assert float(drifted(paddle.to_tensor(0.01), parameter(-20.0))) > 0


def test_an_offset_moves_by_fractions_of_the_range() -> None:
    drift = parameter(0.5)
    offset = moved(paddle.to_tensor(-1.0), drift, 4.0)
    offset.backward(paddle.to_tensor(2.0))
    assert float(offset) == pytest.approx(1.0)
    assert float(drift.grad) == pytest.approx(0.5)


def test_no_gradient_is_made_for_what_wants_none(x: paddle.Tensor, upstream: np.ndarray) -> None:
    scale = parameter(0.25)
    run(learned_step(x.detach(), scale, LOW, HIGH), upstream)
    assert np.isfinite(float(scale.grad))
    run(learned_step(x, paddle.to_tensor(0.25), LOW, HIGH), upstream)
    assert x.grad is not None
