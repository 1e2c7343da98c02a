"""Grids for the blocks of a weight's rows: by the largest number, and by the least squared error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import NonFiniteError
from quantizers.grids.block_grid import SMALLEST, BlockGrid, as_blocks
from quantizers.statistics.arrays import FloatArray

__all__ = ["GridRule", "absmax_grid", "checked_rows", "mse_grid", "squared_errors"]

GridRule = Callable[[FloatArray, int, "int | None", bool], BlockGrid]
"""Takes rows ``[C, F]``, bits, group size (None: whole rows) and whether zero points stay in the middle."""

# Tried lengths of a grid, in units of the one that ends at the block's largest number.
LENGTHS = np.linspace(0.5, 1.2, 36)
REFITS = 2
Wide = npt.NDArray[np.float64]


def checked_rows(rows: npt.ArrayLike) -> FloatArray:
    """Float32 ``[C, F]``; raises ``NonFiniteError`` for NaN and Inf."""
    values = np.asarray(rows, np.float32)
    if not np.isfinite(values).all():
        raise NonFiniteError("the weight holds NaN or Inf; it cannot be quantized")
    return values


def absmax_grid(rows: FloatArray, num_bits: int, group_size: int | None = None, symmetric: bool = True) -> BlockGrid:
    """Grids that hold the largest and the smallest number of each block.

    Symmetric: the number of largest magnitude, m, gets the most negative code, ``scale = -m / 2**(num_bits - 1)``, so that no code is
    lost (4 bits: a step of m / 8 and not of m / 7).  Otherwise ``[min(x, 0), max(x, 0)]`` with an integer zero point.
    """
    blocks = as_blocks(checked_rows(rows), group_size).astype(np.float64)
    if symmetric:
        return _symmetric(_farthest(blocks) / -(1 << (num_bits - 1)), num_bits, group_size)
    return _asymmetric(blocks.min(axis=2, initial=0), blocks.max(axis=2, initial=0), num_bits, group_size)


def mse_grid(rows: FloatArray, num_bits: int, group_size: int | None = None, symmetric: bool = True) -> BlockGrid:
    """The grids of least squared error among shorter and longer ones, each then fitted to its own codes by least squares."""
    values = checked_rows(rows)
    best = absmax_grid(values, num_bits, group_size, symmetric)
    errors = squared_errors(values, best)
    candidates = _symmetric_candidates if symmetric else _asymmetric_candidates
    for candidate in candidates(as_blocks(values, group_size).astype(np.float64), num_bits, group_size):
        best, errors = _better(values, best, errors, candidate)
    for _ in range(REFITS):
        best, errors = _better(values, best, errors, _refitted(values, best))
    return best


def squared_errors(rows: FloatArray, grid: BlockGrid, weights: npt.NDArray[Any] | None = None) -> Wide:
    """Summed squared error of rounding to nearest in each block, ``[C, B]``; ``weights``: ``[F]``, of the features."""
    difference = np.square(rows.astype(np.float64) - grid.dequantize(grid.quantize(rows)))
    if weights is not None:
        difference *= weights
    return np.asarray(as_blocks(difference, grid.group_size).sum(axis=2))


def _farthest(blocks: Wide) -> Wide:
    low, high = blocks.min(axis=2, initial=0), blocks.max(axis=2, initial=0)
    return np.asarray(np.where(-low > high, low, high))


def _symmetric(scale: Wide, num_bits: int, group_size: int | None) -> BlockGrid:
    return BlockGrid.symmetric(_usable(scale), num_bits, group_size)


def _usable(scale: Wide) -> Wide:
    """1 for a block of zeros, and never so small that a division by it is one by zero."""
    return np.where(scale == 0, 1.0, np.where(np.abs(scale) < SMALLEST, np.copysign(SMALLEST, scale), scale))


def _asymmetric(low: Wide, high: Wide, num_bits: int, group_size: int | None) -> BlockGrid:
    largest = (1 << num_bits) - 1
    scale = _usable((high - low) / largest).astype(np.float32)
    zero_point = np.clip(np.rint(-low / scale.astype(np.float64)), 0, largest)
    return BlockGrid(scale, zero_point.astype(np.int32), num_bits, group_size)


def _symmetric_candidates(blocks: Wide, num_bits: int, group_size: int | None) -> Iterator[BlockGrid]:
    step = _farthest(blocks) / -(1 << (num_bits - 1))
    for length in LENGTHS:
        for sign in (1, -1):
            yield _symmetric(step * length * sign, num_bits, group_size)


def _asymmetric_candidates(blocks: Wide, num_bits: int, group_size: int | None) -> Iterator[BlockGrid]:
    low, high = blocks.min(axis=2, initial=0), blocks.max(axis=2, initial=0)
    for length in LENGTHS[LENGTHS < 1]:
        for below, above in ((length, length), (length, 1), (1, length)):
            yield _asymmetric(low * below, high * above, num_bits, group_size)


def _refitted(rows: FloatArray, grid: BlockGrid) -> BlockGrid:
    """The scale of least squared error for the codes that the grid gives."""
    codes = grid.quantize(rows) - np.repeat(grid.zero_point, grid.group_size or rows.shape[1], axis=1)[:, : rows.shape[1]]
    steps, values = as_blocks(codes.astype(np.float64), grid.group_size), as_blocks(rows.astype(np.float64), grid.group_size)
    squares = np.square(steps).sum(axis=2)
    scale = np.where(squares > 0, (steps * values).sum(axis=2) / np.maximum(squares, 1), grid.scale)
    return BlockGrid(_usable(np.where(scale == 0, grid.scale, scale)).astype(np.float32), grid.zero_point, grid.num_bits, grid.group_size)


def _better(rows: FloatArray, best: BlockGrid, errors: Wide, candidate: BlockGrid) -> tuple[BlockGrid, Wide]:
    """The better grid for each block, and its error."""
    found = squared_errors(rows, candidate)
    wins = found < errors
    scale, zero_point = np.where(wins, candidate.scale, best.scale), np.where(wins, candidate.zero_point, best.zero_point)
    return BlockGrid(scale, zero_point, best.num_bits, best.group_size), np.where(wins, found, errors)
