"""Ways of rounding, against all roundings that there are and against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from recovery_cases import rows

from ptq.recovery.adaround import adaround
from ptq.recovery.clip import best_scales, refitted_scales
from ptq.recovery.descent import descend, descend_with_scales
from ptq.recovery.gptq import gptq
from ptq.recovery.objective import damped, error_of, nearest
from ptq.recovery.qronos import corrected_goal

BOUNDS = (-4, 3)
GROUPS, OUTPUTS, INPUTS = 2, 3, 6


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A goal, scales, and the products of inputs that go together, so that rounding matters."""
    mixed = rows(GROUPS, INPUTS, INPUTS, seed=5)
    columns = rows(GROUPS, 400, INPUTS, seed=6) @ (mixed + 2)
    goal = rows(GROUPS, OUTPUTS, INPUTS, seed=7)
    scale = np.broadcast_to(np.abs(goal).max(axis=2, keepdims=True) / 3.3, goal.shape)
    return goal, scale, columns.swapaxes(1, 2) @ columns


def brute_force(goal: np.ndarray, scale: np.ndarray, products: np.ndarray) -> np.ndarray:
    """The least error of all roundings up or down, ``[groups, outputs]``."""
    below = np.floor(goal / scale)
    every = np.array(list(itertools.product((0, 1), repeat=goal.shape[2])))
    tried = np.clip(below[..., None, :] + every, *BOUNDS) * scale[..., None, :] - goal[..., None, :]
    errors = np.einsum("gonk,gkl,gonl->gon", tried, products, tried)
    return errors.min(axis=2)


@pytest.mark.parametrize("act_order", [True, False])
def test_gptq_is_between_nearest_and_the_best(case: tuple[np.ndarray, ...], act_order: bool) -> None:
    goal, scale, products = case
    found = gptq(goal, scale, BOUNDS, products, act_order=act_order)
    assert BOUNDS[0] <= found.min() <= found.max() <= BOUNDS[1]
    error, plain = error_of(found, scale, goal, products), error_of(nearest(goal, scale, BOUNDS), scale, goal, products)
    assert error.sum() < 0.5 * plain.sum()
    assert error.sum() < 4 * brute_force(goal, scale, products).sum()


def test_gptq_is_the_textbook_loop(case: tuple[np.ndarray, ...]) -> None:
    """Optimal brain compression: each rounding error is spread by the inverse of what is left of ``H``."""
    goal, scale, products = case
    found = gptq(goal, scale, BOUNDS, products, act_order=False, damping=0.01)
    matrix = damped(products, 0.01)
    for group, output in itertools.product(range(GROUPS), range(OUTPUTS)):
        weights, left = goal[group, output].copy(), np.arange(INPUTS)
        expected = np.empty(INPUTS)
        for k in range(INPUTS):
            inverse = np.linalg.inv(matrix[group][np.ix_(left, left)])
            expected[k] = np.clip(np.rint(weights[k] / scale[group, output, k]), *BOUNDS)
            error = (weights[k] - expected[k] * scale[group, output, k]) / inverse[0, 0]
            weights[left] -= error * inverse[:, 0]
            left = left[1:]
        np.testing.assert_array_equal(found[group, output], expected)


def test_gptq_works_through_many_blocks() -> None:
    columns = rows(1, 900, 300, seed=1)
    goal = rows(1, 4, 300, seed=2)
    scale = np.full(goal.shape, 0.4)
    products = columns.swapaxes(1, 2) @ columns
    found = gptq(goal, scale, (-8, 7), products)
    assert error_of(found, scale, goal, products).sum() < 0.9 * error_of(nearest(goal, scale, (-8, 7)), scale, goal, products).sum()


def test_independent_inputs_get_the_nearest_integers(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, _ = case
    products = np.broadcast_to(np.diag(np.arange(1.0, INPUTS + 1)), (GROUPS, INPUTS, INPUTS))
    plain = nearest(goal, scale, BOUNDS)
    for found in (
        gptq(goal, scale, BOUNDS, products),
        descend(plain, scale, goal, BOUNDS, products),
        adaround(goal, scale, BOUNDS, products, steps=300),
    ):
        np.testing.assert_array_equal(found, plain)


def test_descent_never_worsens_and_ends_where_no_integer_can_move(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, products = case
    start = np.random.default_rng(0).integers(*BOUNDS, goal.shape).astype(float)
    errors = [error_of(start, scale, goal, products)]
    for sweeps in (1, 2, 30):
        found = descend(start, scale, goal, BOUNDS, products, sweeps=sweeps)
        errors.append(error_of(found, scale, goal, products))
        assert (errors[-1] <= errors[-2] * (1 + 1e-12)).all()
    assert BOUNDS[0] <= found.min() <= found.max() <= BOUNDS[1]
    for k, step in itertools.product(range(INPUTS), (-1, 1)):
        moved = found.copy()
        moved[..., k] = np.clip(moved[..., k] + step, *BOUNDS)
        assert (error_of(moved, scale, goal, products) >= errors[-1] * (1 - 1e-9)).all()


def test_descent_from_gptq_is_near_the_best_of_all(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, products = case
    start = gptq(goal, scale, BOUNDS, products)
    found = descend(start, scale, goal, BOUNDS, products, sweeps=20)
    assert error_of(found, scale, goal, products).sum() < 2 * brute_force(goal, scale, products).sum()


def test_adaround_rounds_up_or_down_and_gains(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, products = case
    found, plain = adaround(goal, scale, BOUNDS, products), nearest(goal, scale, BOUNDS)
    assert BOUNDS[0] <= found.min() <= found.max() <= BOUNDS[1]
    steps = np.abs(found - np.clip(goal / scale, *BOUNDS))
    assert (steps < 1 + 1e-9).all()
    error = error_of(found, scale, goal, products)
    assert (error <= error_of(plain, scale, goal, products)).all()
    assert error.sum() < 0.6 * error_of(plain, scale, goal, products).sum()
    assert error.sum() < 4 * brute_force(goal, scale, products).sum()


def test_scales_are_the_best_of_many(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, products = case
    found = best_scales(goal, scale, BOUNDS, products)
    assert (found == found[..., :1]).all()
    error = error_of(nearest(goal, found, BOUNDS), found, goal, products)
    assert (error <= error_of(nearest(goal, scale, BOUNDS), scale, goal, products)).all()
    every = np.abs(goal).max(axis=2, keepdims=True) / BOUNDS[1] * np.linspace(0.25, 1.1, 800)[:, None, None, None]
    tried = np.broadcast_to(every, (800, *goal.shape))
    least = np.min([error_of(nearest(goal, one, BOUNDS), one, goal, products) for one in tried], axis=0)
    assert error.sum() < 1.5 * least.sum()


def test_scales_of_long_rows_are_those_of_the_diagonal() -> None:
    goal = rows(1, 2, 1030)
    scale = np.broadcast_to(np.abs(goal).max(axis=2, keepdims=True) / 7, goal.shape)
    weights = np.random.default_rng(1).uniform(0.5, 2, 1030)
    found = best_scales(goal, scale, (-8, 7), np.diag(weights)[None])
    errors = [(np.square(nearest(goal, each, (-8, 7)) * each - goal) * weights).sum() for each in (scale, found)]
    assert errors[1] < 0.8 * errors[0]


def test_a_refitted_scale_is_the_least_square(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, products = case
    integers = nearest(goal, scale, BOUNDS)
    found = refitted_scales(integers, scale, goal, products)
    error = error_of(integers, found, goal, products)
    for factor in (0.99, 1.01):
        assert (error <= error_of(integers, found * factor, goal, products)).all()
    moved, scales = descend_with_scales(integers, scale, goal, BOUNDS, products)
    assert (error_of(moved, scales, goal, products) <= error_of(integers, scale, goal, products)).all()
    np.testing.assert_array_equal(moved, np.rint(moved))


def test_the_corrected_goal_is_the_damped_least_square(case: tuple[np.ndarray, ...]) -> None:
    goal, _, _ = case
    columns, results = rows(GROUPS, 50, INPUTS, seed=8), rows(GROUPS, 50, OUTPUTS, seed=9)
    products, crossed = columns.swapaxes(1, 2) @ columns, results.swapaxes(1, 2) @ columns
    found = corrected_goal(goal, products, crossed, damping=0.5)
    for group in range(GROUPS):
        pull = 0.5 * np.trace(products[group]) / INPUTS
        wide = np.vstack([columns[group], np.sqrt(pull) * np.eye(INPUTS)])
        wanted = np.vstack([results[group], np.sqrt(pull) * goal[group].T])
        np.testing.assert_allclose(found[group].T, np.linalg.lstsq(wide, wanted, rcond=None)[0], rtol=1e-8)


def test_an_input_that_is_always_zero_does_no_harm(case: tuple[np.ndarray, ...]) -> None:
    goal, scale, products = (part.copy() for part in case)
    products[:, 2], products[:, :, 2] = 0, 0
    for found in (gptq(goal, scale, BOUNDS, products), descend(nearest(goal, scale, BOUNDS), scale, goal, BOUNDS, products)):
        assert np.isfinite(found).all()
    np.testing.assert_array_equal(corrected_goal(goal, products, goal @ products)[..., 2], goal[..., 2])
