"""One float weight to the integers that a twin stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import QParams
from quantizers.errors import NonFiniteError
from quantizers.grids.block_grid import BlockGrid
from quantizers.grids.log_grid import LogGrid
from quantizers.weights.awq import awq
from quantizers.weights.block_rules import GridRule, absmax_grid, mse_grid
from quantizers.weights.gptq import gptq
from quantizers.weights.hqq import hqq_grid

from ..layers import IntegerWeight
from ..layers.base import Weight
from ..layers.block_weight import BlockWeight, matrix_rows
from ..layers.log_weight import LogWeight
from .settings import WeightSettings

__all__ = ["InputProducts", "rounded_weight"]

RULES: dict[str, GridRule] = {"absmax": absmax_grid, "mse": mse_grid, "hqq": hqq_grid}


@dataclass
class InputProducts:
    """What a layer's inputs were like: ``X^T X``, float64 ``[F, F]``, the mean magnitude of each feature, ``[F]``, and their number."""

    products: npt.NDArray[np.float64]
    magnitudes: npt.NDArray[np.float64]
    count: int = 0


def rounded_weight(
    weight: npt.NDArray[Any],
    axis: int,
    settings: WeightSettings,
    inputs: InputProducts | None = None,
    where: str = "the weight",
    whole_bytes: bool = False,
) -> Weight:
    """Integers of a float32 weight.

    Args:
        weight: in the layer's layout.
        axis: of its output channels (rows of an embedding).
        settings: how.
        inputs: what ``gptq`` and ``awq`` go by; without them the grids of least squared error take their place.
        where: names the weight in messages.
        whole_bytes: an integer in each byte, in the layer's layout, also where the settings would pack them.

    Raises:
        NonFiniteError: the weight holds NaN or Inf.
    """
    if not np.isfinite(weight).all():
        raise NonFiniteError(f"{where} holds NaN or Inf; it cannot be quantized: repair it, or leave its layer float with layers=")
    if settings.algorithm == "log":
        log = LogGrid.of(float(np.abs(weight).max(initial=0)))
        return LogWeight(log.quantize(weight), log)
    if settings.is_plain or whole_bytes:
        return _plain(weight, axis, settings)
    rows = matrix_rows(weight, axis)
    bits, group, symmetric = settings.bits, settings.group_size, settings.is_symmetric
    if not settings.per_channel:
        grid = _of_all(RULES[settings.algorithm](rows.reshape(1, -1), bits, None, symmetric))
        return BlockWeight(grid.quantize(rows), grid, weight.shape, axis)
    if settings.algorithm == "awq" and inputs is not None:
        factors, grid = awq(rows, inputs.products, inputs.magnitudes, mse_grid, bits, group, symmetric)
        return BlockWeight(grid.quantize(rows * factors), grid, weight.shape, axis, (1 / factors).astype(np.float32))
    grid = RULES.get(settings.algorithm, mse_grid)(rows, bits, group, symmetric)
    codes = grid.quantize(rows) if settings.algorithm != "gptq" or inputs is None else gptq(rows, inputs.products, grid)
    return BlockWeight(codes, grid, weight.shape, axis)


def _plain(weight: npt.NDArray[Any], axis: int, settings: WeightSettings) -> IntegerWeight:
    """The symmetric grid without the most negative integer, as all int8 kernels have it."""
    others = tuple(number for number in range(weight.ndim) if number != axis)
    largest = np.abs(weight).max(axis=others, initial=0) if settings.per_channel else np.abs(weight).max(initial=0)
    grid = QParams.symmetric(largest, num_bits=settings.bits, quant_axis=axis if settings.per_channel else None, narrow_range=True)
    return IntegerWeight.nearest(weight, grid)


def _of_all(grid: BlockGrid) -> BlockGrid:
    return BlockGrid(grid.scale[:1, :1], grid.zero_point[:1, :1], grid.num_bits, None)
