"""The squared error of a layer's result that rounded weights cause, as a quadratic form; and the nearest integers, to start from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["better_rows", "damped", "error_of", "nearest"]

Array = npt.NDArray[np.float64]
Bounds = tuple[int, int]


def error_of(integers: Array, scale: Array, goal: Array, products: Array) -> Array:
    """``d H d'`` of every row of ``d = integers * scale - goal``, ``[groups, outputs]``; ``products`` is ``H``, one matrix a group."""
    difference = integers * scale - goal
    return np.asarray((difference @ products * difference).sum(axis=2))


def nearest(goal: Array, scale: Array, bounds: Bounds) -> Array:
    """The nearest integers within the bounds, halves to even."""
    return np.asarray(np.clip(np.rint(goal / scale), *bounds))


def damped(products: Array, damping: float) -> Array:
    """``H`` with a share of its mean diagonal added to the diagonal, and 1 where an input is always zero: it can be inverted."""
    diagonal = np.einsum("gkk->gk", products)
    mean = diagonal.mean(axis=1, keepdims=True)
    added = np.where(diagonal > 0, damping * mean, np.where(mean > 0, mean, 1.0))
    result = products.copy()
    np.einsum("gkk->gk", result)[...] += added
    return result


def better_rows(found: tuple[Array, Array], before: tuple[Array, Array], goal: Array, products: Array) -> tuple[Array, Array]:
    """Integers and scales row by row from ``found``, or from ``before`` where those have the smaller error."""
    is_better = (error_of(*found, goal, products) < error_of(*before, goal, products))[..., None]
    return np.where(is_better, found[0], before[0]), np.where(is_better, found[1], before[1])
