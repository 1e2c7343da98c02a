"""Coordinate descent over integers: one input after the other gets the integer of least error, all others held; until nothing moves.

Every step is the exact minimum over that integer, so the error never grows.  It is what refines the integers of any other way of
rounding, and moves by more than one step where that helps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .clip import refitted_scales
from .objective import Bounds, better_rows, nearest

__all__ = ["descend", "descend_with_scales"]

Array = npt.NDArray[np.float64]

BLOCK = 64


def descend(integers: Array, scale: Array, goal: Array, bounds: Bounds, products: Array, *, sweeps: int = 4) -> Array:
    """Integers of less error, or the same ones; shapes as in `gptq.gptq`, ``sweeps``: over all inputs, at most."""
    integers = integers.copy()
    gradient = (integers * scale - goal) @ products
    diagonal = np.einsum("gkk->gk", products)
    inputs = goal.shape[2]
    for _ in range(sweeps):
        has_moved = False
        for start in range(0, inputs, BLOCK):
            stop = min(start + BLOCK, inputs)
            own = products[:, start:stop, start:stop]
            local = gradient[..., start:stop].copy()
            moves = np.zeros_like(local)
            for k in range(start, stop):
                curvature = diagonal[:, None, k] * scale[..., k]
                wanted = integers[..., k] - np.divide(local[..., k - start], curvature, out=np.zeros_like(curvature), where=curvature > 0)
                # what is no better than a tie stays, or it would move for ever
                chosen = np.clip(np.rint(wanted), *bounds)
                is_gain = np.abs(chosen - wanted) < np.abs(integers[..., k] - wanted) - 1e-9
                move = np.where(is_gain, chosen - integers[..., k], 0.0) * scale[..., k]
                integers[..., k] = np.where(is_gain, chosen, integers[..., k])
                moves[..., k - start] = move
                local += move[..., None] * own[:, None, k - start, :]
            if moves.any():
                has_moved = True
                gradient += moves @ products[:, start:stop, :]
        if not has_moved:
            break
    return integers


def descend_with_scales(
    integers: Array, scale: Array, goal: Array, bounds: Bounds, products: Array, *, sweeps: int = 4, rounds: int = 3
) -> tuple[Array, Array]:
    """The same, by turns with scales fitted to the integers; ``rounds``: of both."""
    found = integers, np.array(scale)
    for _ in range(rounds):
        fitted = refitted_scales(*found, goal, products)
        moved = descend(nearest(found[0], np.ones_like(fitted), bounds), fitted, goal, bounds, products, sweeps=sweeps)
        found = better_rows((moved, fitted), found, goal, products)
    return found
