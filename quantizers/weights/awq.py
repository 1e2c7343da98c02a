"""AWQ: protects the features that the inputs make much of by multiplying their weights before rounding (Lin et al., 2024).

The inputs are divided by the same factors.  They are ``mean|x|^a`` with one exponent for a layer, the one of least error of its output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.grids.block_grid import BlockGrid
from quantizers.statistics.arrays import FloatArray
from quantizers.weights.block_rules import GridRule, checked_rows
from quantizers.weights.gptq import checked_hessian, output_error

__all__ = ["awq"]

EXPONENTS = np.linspace(0, 1, 21)


def awq(
    rows: FloatArray,
    hessian: npt.NDArray[Any],
    magnitudes: npt.NDArray[Any],
    rule: GridRule,
    num_bits: int,
    group_size: int | None = None,
    symmetric: bool = True,
) -> tuple[npt.NDArray[np.float32], BlockGrid]:
    """Factors ``[F]`` (float32, positive) and the grid of ``rows * factors``.

    Args:
        rows: float32 ``[C, F]``.
        hessian: ``X^T X`` of the inputs, ``[F, F]``.
        magnitudes: mean ``|x|`` of each input feature, ``[F]``.
        rule: makes the grids.
        num_bits, group_size, symmetric: as in `GridRule`.

    Raises:
        ConfigError, NonFiniteError: as `quantizers.weights.gptq.gptq`.
    """
    values, matrix = checked_rows(rows), checked_hessian(hessian, rows.shape[1])
    size = np.asarray(magnitudes, np.float64)
    size = np.where(size > 0, size, size[size > 0].min(initial=1.0))
    found = []
    for exponent in EXPONENTS:
        factors = size**exponent
        factors = (factors / np.sqrt(factors.max() * factors.min())).astype(np.float32)
        scaled = values * factors
        grid = rule(scaled, num_bits, group_size, symmetric)
        found.append((output_error(values, grid.dequantize(grid.quantize(scaled)) / factors, matrix), factors, grid))
    _, factors, grid = min(found, key=lambda item: item[0])
    return factors, grid
