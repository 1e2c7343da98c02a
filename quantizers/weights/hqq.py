"""Half-quadratic quantization: grids that let few numbers be far off where that brings many close (Badri and Shaji, 2023).

The error is measured in the norm ``sum |w - r|^p`` with p below 1.  A second unknown e, sparse, takes the place of the outliers:
``sum |e|^p + beta / 2 (e - (w - r))^2`` is minimised in turn for e, by generalized soft thresholding, and for the grid, in closed form.
There the zero point is a real number; runtimes have integers for it, so here the scale is fitted too, and the zero point is rounded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantizers.grids.block_grid import BlockGrid, as_blocks
from quantizers.statistics.arrays import FloatArray
from quantizers.weights.block_rules import absmax_grid, checked_rows

__all__ = ["hqq_grid"]

NORM, BETA, GROWTH, STEPS = 0.7, 10.0, 1.01, 20
Wide = npt.NDArray[np.float64]


def hqq_grid(rows: FloatArray, num_bits: int, group_size: int | None = None, symmetric: bool = True) -> BlockGrid:
    """For each block the grid of least p-norm error that the iteration met, the one it started from (absmax) included."""
    values = checked_rows(rows)
    grid = best = absmax_grid(values, num_bits, group_size, symmetric)
    lowest, beta = _errors(values, best), BETA
    # the thresholding has a unit: the paper's numbers are for weights of about this size
    unit = float(np.std(values, dtype=np.float64)) * 20 or 1.0
    for _ in range(STEPS):
        difference = (values.astype(np.float64) - grid.dequantize(grid.quantize(values))) / unit
        grid = _fitted(values, grid, _shrunk(difference, beta) * unit, symmetric)
        found = _errors(values, grid)
        wins = found < lowest
        best = BlockGrid(np.where(wins, grid.scale, best.scale), np.where(wins, grid.zero_point, best.zero_point), num_bits, group_size)
        lowest, beta = np.where(wins, found, lowest), beta * GROWTH
    return best


def _errors(rows: FloatArray, grid: BlockGrid) -> Wide:
    difference = np.abs(rows.astype(np.float64) - grid.dequantize(grid.quantize(rows)))
    return np.asarray(as_blocks(difference**NORM, grid.group_size).sum(axis=2))


def _shrunk(values: Wide, beta: float) -> Wide:
    """Generalized soft thresholding, equation 3 of the paper."""
    size = np.abs(values)
    penalty = np.zeros_like(size)
    np.power(size, NORM - 1, out=penalty, where=size > 0)
    return np.sign(values) * np.maximum(size - penalty / beta, 0)


def _fitted(rows: FloatArray, grid: BlockGrid, outliers: Wide, symmetric: bool) -> BlockGrid:
    """The grid of least squared error for the codes of the moment, without what the outliers take."""
    codes = as_blocks(grid.quantize(rows), grid.group_size).astype(np.float64)
    target = as_blocks(rows - outliers, grid.group_size)
    zero_point = grid.zero_point.astype(np.float64)
    if not symmetric:
        zero_point = np.clip(np.rint((codes - target / grid.scale[:, :, None]).mean(axis=2)), 0, grid.quant_max)
    steps = codes - zero_point[:, :, None]
    squares = np.square(steps).sum(axis=2)
    scale = np.divide((steps * target).sum(axis=2), squares, out=grid.scale.astype(np.float64), where=squares > 0)
    scale = np.where(np.abs(scale) < np.abs(grid.scale) / 4, grid.scale, scale)  # a grid that collapses has nothing to say
    return BlockGrid(scale.astype(np.float32), zero_point.astype(np.int32), grid.num_bits, grid.group_size)
