"""A grid per channel with one zero point: integers ``round(x_c / s_c) + z``.

The integers then carry one zero point and, once the ratios of the scales are moved into the weights that read them, one scale, so that an
integer kernel sees an ordinary tensor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError
from quantizers.grids.qparams import QParams, QuantSpec
from quantizers.grids.ranges import GridKind
from quantizers.statistics.arrays import FloatArray
from quantizers.statistics.channels import ChannelRanges

__all__ = ["channel_grid", "one_scale"]

_CANDIDATES = 257
_TINY = float(np.finfo(np.float32).tiny)


def channel_grid(ranges: ChannelRanges, kind: GridKind, gains: npt.ArrayLike, *, num_bits: int = 8, quant_axis: int = 1) -> QParams:
    """The unsigned grid that clips nothing, with the zero point that costs the reader least.

    Rounding channel c to steps of ``s_c`` costs whoever reads it in proportion to ``s_c ** 2`` times the sum of squares of the weights
    that read it.  So z minimises ``sum(gains * s(z) ** 2)`` with ``s_c(z) = max(high_c / (quant_max - z), -low_c / z)``; it is 0 for an
    ``unsigned`` grid and half of the levels for a ``symmetric`` one.  A channel without a range gets the largest of the other scales.

    Args:
        ranges: of each channel, ``[C]``.
        kind: see `GridKind`.
        gains: ``[C]``, not negative.
        num_bits: width of the grid.
        quant_axis: the tensor's channel axis.
    """
    low, high = np.minimum(ranges.low, 0).astype(np.float64), np.maximum(ranges.high, 0).astype(np.float64)
    gain = np.asarray(gains, dtype=np.float64)
    if gain.shape != low.shape or (gain < 0).any():
        raise ConfigError(f"gains must be {list(low.shape)} numbers that are not negative, got shape {list(gain.shape)}")
    quant_max = QuantSpec(num_bits, signed=False).quant_max
    if kind == "unsigned":
        zero, scales = 0, high / quant_max
    elif kind == "symmetric":
        zero = (quant_max + 1) // 2
        scales = np.maximum(-low, high) / (quant_max - zero)
    else:
        zeros = np.unique(np.linspace(0, quant_max, min(quant_max + 1, _CANDIDATES)).astype(np.int64))
        steps = _steps(low, high, zeros, quant_max)
        costs = np.where(np.isfinite(steps), np.square(steps) * (gain + _TINY), np.inf).sum(axis=1)
        best = int(costs.argmin())
        zero, scales = int(zeros[best]), steps[best]
    largest = scales.max(initial=0.0) or 1.0
    scales = np.maximum(np.where(scales > 0, scales, largest), _TINY)
    return QParams(scales.astype(np.float32), np.full(scales.shape, zero, np.int32), 0, quant_max, num_bits, quant_axis)


def _steps(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], zeros: npt.NDArray[np.int64], quant_max: int) -> FloatArray:
    """``s_c(z)`` for every candidate z, ``[Z, C]``; infinite where a side of the range has no level."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(high > 0, high / (quant_max - zeros)[:, None], 0.0)
        below = np.where(low < 0, -low / zeros[:, None], 0.0)
    return np.asarray(np.maximum(above, below))


def one_scale(grid: QParams) -> tuple[QParams, FloatArray]:
    """The grid of the integers alone, with the largest of the scales, and the ratio of each channel's scale to it, float32 ``[C]``."""
    scale = np.asarray(grid.scale)
    largest = np.float32(scale.max())
    return QParams(np.asarray(largest), grid.zero_point.reshape(-1)[0], grid.quant_min, grid.quant_max, grid.num_bits), scale / largest
