"""Ratios of a web's channels by descent, on a smooth model of what they cost.

In the logarithms ``u`` of the ratios the scale of a grid is the largest of ``log(needed_c) - u_c``, and the scale of an output's weights
the largest of ``log(largest_oc) + u_c``.  Where norms of order 16 stand for the maxima, all that counts is a sum of products of
exponentials of affine functions and such norms, which is convex (a geometric program, see Boyd et al. 2007): there is one optimum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from .channel_ratios import RatioGrid, RatioReader

__all__ = ["descend"]

Array = npt.NDArray[np.float64]

ORDER = 16.0
STEPS = 60
FARTHEST = 7.0  # ratios stay within e ** 7 of one another


def descend(grids: Sequence[RatioGrid], readers: Sequence[RatioReader], costs: Array, weights: Sequence[float], start: Array) -> Array:
    """The ratios that cost least by the model, ``[count]``, the first of them 1.

    Args:
        grids, readers: of the web.
        costs: what noise of power one on each ratio's channels costs, ``[count]``.
        weights: what the noise of each reader's weights costs now; 0 for those that keep their integers.
        start: ratios to begin with, ``[count]``.
    """
    terms: list[_GridTerm | _WeightTerm] = [_GridTerm(grid, costs) for grid in grids]
    terms += [_WeightTerm(reader, cost) for reader, cost in zip(readers, weights, strict=True) if cost]

    def log_cost(free: Array) -> tuple[float, Array]:
        logs = np.concatenate([[0.0], free])
        total, slope = np.finfo(np.float64).tiny, np.zeros(start.size)
        for term in terms:
            total += term.add_to(slope, logs)
        return float(np.log(total)), slope[1:] / total

    first = np.log(start[1:] / start[0])
    found = minimize(log_cost, first, jac=True, method="L-BFGS-B", bounds=[(-FARTHEST, FARTHEST)] * first.size, options={"maxiter": STEPS})
    return np.asarray(np.exp(np.concatenate([[0.0], found.x])))


class _GridTerm:
    """What a grid puts on the results: the square of its scale times the noise of a scale of one."""

    def __init__(self, grid: RatioGrid, costs: Array) -> None:
        self.labels, self.noise = grid.labels, grid.live * costs[grid.labels]
        with np.errstate(divide="ignore"):
            self.needed = np.log(grid.needed(np.ones(grid.labels.size)))

    def add_to(self, slope: Array, logs: Array) -> float:
        """Adds the gradient to ``slope`` and returns the value."""
        own = logs[self.labels]
        log_scale, share = _norm(self.needed - own)
        parts = self.noise * np.exp(2 * (own + log_scale))
        np.add.at(slope, self.labels, 2 * (parts - parts.sum() * share))
        return float(parts.sum())


class _WeightTerm:
    """What the rounded weights of a reader put on its results, ``cost`` without ratios."""

    def __init__(self, reader: RatioReader, cost: float) -> None:
        groups = reader.weight.shape[0]
        self.labels, self.powers = reader.labels.reshape(groups, -1), reader.powers.reshape(groups, -1)
        largest = np.abs(reader.weight).max(axis=3 if reader.per_output else (1, 3), keepdims=True)[..., 0].astype(np.float64)
        rows = largest.max(axis=2, keepdims=True)
        # so that a norm over channels is a product with a matrix
        self.shape = (largest / np.where(rows > 0, rows, 1.0)) ** ORDER
        self.squares = np.square(rows[..., 0])
        self.factor = 1.0
        now = self.add_to(np.zeros(int(reader.labels.max()) + 1), np.zeros(int(reader.labels.max()) + 1))
        self.factor = cost / now if now else 0.0

    def add_to(self, slope: Array, logs: Array) -> float:
        """Adds the gradient to ``slope`` and returns the value."""
        own = logs[self.labels]
        top = own.max()
        each = np.exp(ORDER * (own - top))
        sums = (self.shape @ each[..., None])[..., 0]
        scales = self.squares * np.exp(2 * top) * sums ** (2 / ORDER)
        steps, reach = scales.sum(axis=1, keepdims=True), self.powers * np.exp(-2 * own)
        whole = reach.sum(axis=1, keepdims=True)
        shares = each * ((scales / np.where(sums > 0, sums, 1.0))[:, None] @ self.shape)[:, 0]
        np.add.at(slope, self.labels.reshape(-1), 2 * self.factor * (shares * whole - steps * reach).reshape(-1))
        return self.factor * float((steps * whole).sum())


def _norm(logs: Array) -> tuple[float, Array]:
    """The logarithm of the norm of ``exp(logs)``, ``[C]``, and its gradient; 0 for a norm of nothing."""
    top = logs.max()
    if not np.isfinite(top):
        return 0.0, np.zeros(logs.size)
    powers = np.exp(ORDER * (logs - top))
    total = powers.sum()
    return float(top + np.log(total) / ORDER), powers / total
