"""A scale for every output channel by what it does to the layer's result: clipping the largest weights makes all others finer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .objective import Bounds, error_of, nearest

__all__ = ["best_scales", "refitted_scales"]

Array = npt.NDArray[np.float64]

RATIOS = np.linspace(1.0, 0.3, 36)
WHOLE = 1024  # inputs up to which the error is that of the whole quadratic form; above, of its diagonal


def best_scales(goal: Array, scale: Array, bounds: Bounds, products: Array) -> Array:
    """The scale of least error for the nearest integers, one for each row: ``[groups, outputs, inputs]``, equal along the inputs.

    Args:
        goal: what the integers stand for, ``[groups, outputs, inputs]``.
        scale: the scales so far, of the same shape; they stay where none is better.
        bounds: smallest and largest integer.
        products: ``H``, ``[groups, inputs, inputs]``.
    """
    if goal.shape[2] > WHOLE:
        products = np.einsum("gkk->gk", products)[:, :, None] * np.eye(1)  # [groups, inputs, 1]: used through `_error`
    full = np.abs(goal).max(axis=2, keepdims=True) / bounds[1]
    best = np.array(scale, dtype=np.float64)
    least = _error(nearest(goal, best, bounds), best, goal, products)
    for ratio in RATIOS:
        tried = np.broadcast_to(np.where(full > 0, full * ratio, 1.0), goal.shape)
        error = _error(nearest(goal, tried, bounds), tried, goal, products)
        is_better = error < least
        best[is_better], least = tried[is_better], np.minimum(error, least)
    return best


def refitted_scales(integers: Array, scale: Array, goal: Array, products: Array) -> Array:
    """For integers that stay, the scale of each row that brings them nearest to the goal in the sense of the error (closed form)."""
    crossed = (integers @ products * goal).sum(axis=2)
    own = (integers @ products * integers).sum(axis=2)
    is_usable = (own > 0) & (crossed > 0)
    fitted = np.where(is_usable, crossed / np.where(is_usable, own, 1.0), scale[..., 0])
    return np.asarray(np.broadcast_to(fitted[..., None], scale.shape))


def _error(integers: Array, scale: Array, goal: Array, products: Array) -> Array:
    if products.shape[2] == goal.shape[2] or goal.shape[2] == 1:
        return error_of(integers, scale, goal, products)
    return np.asarray((np.square(integers * scale - goal) @ products)[..., 0])
