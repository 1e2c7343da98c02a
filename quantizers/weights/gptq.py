"""GPTQ: rounds a weight column by column, and lets the columns still to come make up for the error (Frantar et al., 2023).

With H = X^T X of the layer's inputs the error of the layer's output is tr(E H E^T), E the error of the weight.  Rounding column i with
error e changes the others by -e * U[i, i+1:] / U[i, i], U the upper Cholesky factor of H^-1: the best that they can do about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from quantizers.errors import ConfigError, NonFiniteError
from quantizers.grids.block_grid import BlockGrid
from quantizers.statistics.arrays import FloatArray
from quantizers.weights.block_rules import checked_rows

__all__ = ["checked_hessian", "gptq", "output_error", "round_columns"]

DAMPING = 0.01
# Columns whose updates are collected before they are applied to all that follow, in one matrix product.
PANEL = 64
Wide = npt.NDArray[np.float64]


def gptq(rows: FloatArray, hessian: npt.NDArray[Any], grid: BlockGrid, damping: float = DAMPING) -> npt.NDArray[np.int32]:
    """Codes ``[C, F]`` of a weight's rows on a grid that stays as it is.

    Both orders of the columns are tried, as they come and by how much the input uses them, and rounding to nearest; the codes of least
    `output_error` are returned.

    Args:
        rows: float32 ``[C, F]``, each row the weights of one output.
        hessian: ``X^T X`` of the inputs, ``[F, F]``; features that are always zero have rows of zeros.
        grid: of the rows.
        damping: what is added to the diagonal, in units of its mean.

    Raises:
        ConfigError: the Hessian has another shape, or is no matrix of products.
        NonFiniteError: rows or Hessian hold NaN or Inf.
    """
    values, matrix = checked_rows(rows), checked_hessian(hessian, rows.shape[1])
    nearest = grid.quantize(values)
    found = [nearest, *(_rounded(values, matrix, grid, order, damping) for order in _orders(matrix))]
    errors = [output_error(values, grid.dequantize(codes), matrix) for codes in found]
    return found[int(np.argmin(errors))]


def output_error(rows: npt.ArrayLike, rounded: npt.ArrayLike, hessian: Wide) -> float:
    """``tr(E H E^T)``: the squared error of the layer's outputs, summed over outputs and samples."""
    difference = np.asarray(rows, np.float64) - np.asarray(rounded, np.float64)
    return float(np.einsum("cf,cf->", difference @ hessian, difference))


def checked_hessian(hessian: npt.NDArray[Any], features: int) -> Wide:
    """Float64 ``[F, F]``; raises as `gptq`."""
    matrix = np.asarray(hessian, np.float64)
    if matrix.shape != (features, features):
        raise ConfigError(f"the products of the inputs must be [{features}, {features}], got {list(matrix.shape)}")
    if not np.isfinite(matrix).all():
        raise NonFiniteError("the inputs of the layer hold NaN or Inf; check the calibration data")
    if (np.diagonal(matrix) < 0).any():
        raise ConfigError("the products of the inputs have a negative diagonal: this is no X^T X")
    return matrix


def _orders(hessian: Wide) -> list[npt.NDArray[np.intp]]:
    diagonal = np.diagonal(hessian)
    return [np.arange(diagonal.size), np.argsort(-diagonal, kind="stable")]


def _rounded(rows: FloatArray, hessian: Wide, grid: BlockGrid, order: npt.NDArray[np.intp], damping: float) -> npt.NDArray[np.int32]:
    scale, zero_point = (_per_feature(values, grid, rows.shape) for values in (grid.scale, grid.zero_point))
    return round_columns(rows, scale, zero_point, (0, grid.quant_max), hessian, order, damping)


def round_columns(
    rows: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    zero_point: npt.NDArray[Any],
    bounds: tuple[int, int],
    hessian: Wide,
    order: npt.NDArray[np.intp],
    damping: float = DAMPING,
) -> npt.NDArray[np.int32]:
    """The algorithm itself: integers within ``bounds``, ``[C, F]``, the columns rounded in this order.

    ``scale``, ``zero_point``: of each number, ``[C, F]``; ``hessian``: ``[F, F]``.
    """
    features = rows.shape[1]
    factor = _factor(hessian[np.ix_(order, order)], damping)
    scale, zero_point = scale[:, order], zero_point[:, order]
    work, codes = rows.astype(np.float64)[:, order], np.empty(rows.shape, np.int32)
    for start in range(0, features, PANEL):
        stop = min(start + PANEL, features)
        errors = np.empty((rows.shape[0], stop - start))
        for column in range(start, stop):
            levels = np.rint(work[:, column] / scale[:, column]) + zero_point[:, column]
            codes[:, column] = np.clip(levels, *bounds)
            difference = work[:, column] - (codes[:, column] - zero_point[:, column]) * scale[:, column]
            error = errors[:, column - start] = difference / factor[column, column]
            work[:, column + 1 : stop] -= np.outer(error, factor[column, column + 1 : stop])
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    unsorted = np.empty_like(codes)
    unsorted[:, order] = codes
    return unsorted


def _factor(hessian: Wide, damping: float) -> Wide:
    """The upper Cholesky factor of the inverse; features that never occur are cut off from the others."""
    matrix = hessian.copy()
    diagonal = np.diagonal(matrix).copy()
    mean = float(diagonal[diagonal > 0].mean()) if (diagonal > 0).any() else 1.0
    matrix[np.diag_indices_from(matrix)] = np.where(diagonal > 0, diagonal, mean) + damping * mean
    # a sum over few samples is singular up to rounding: more damping until it is not
    for extra in (0.0, 0.1, 1.0, 10.0):
        try:
            lower = scipy.linalg.cholesky(matrix + extra * mean * np.eye(len(matrix)), lower=True)
            inverse = scipy.linalg.cho_solve((lower, True), np.eye(len(matrix)))
            return np.asarray(scipy.linalg.cholesky((inverse + inverse.T) / 2, lower=False))
        except scipy.linalg.LinAlgError:
            continue
    raise ConfigError("the products of the inputs are no positive matrix: this is no X^T X")


def _per_feature(values: npt.NDArray[Any], grid: BlockGrid, shape: tuple[int, ...]) -> Wide:
    spread = np.repeat(values, grid.group_size or shape[1], axis=1)[:, : shape[1]] if values.shape[1] > 1 else values
    return np.broadcast_to(spread, shape).astype(np.float64)
