"""A batch norm folded into the scales of integers, which stay as they are but for their sign."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from paddle import nn

from quantizers import QParams

from ..layers import IntegerWeight
from ..registry import PTQRegistry

__all__ = ["multiply_channels", "norm_factor"]


def norm_factor(norm: nn.Layer) -> npt.NDArray[np.float64]:
    """What a batch norm multiplies each channel by in eval mode, float64 ``[C]``."""
    variance = norm._variance.astype("float64").numpy()
    gamma = np.ones_like(variance) if norm.weight is None else norm.weight.astype("float64").numpy()
    result: npt.NDArray[np.float64] = gamma / np.sqrt(variance + norm._epsilon)
    return result


def multiply_channels(layer: nn.Layer, weight: IntegerWeight, factor: npt.NDArray[np.float64]) -> IntegerWeight:
    """A layer's weight with each output channel multiplied, ``[C]``: scales take the factor, integers its sign; a zero makes zeros."""
    axis = PTQRegistry.layer_info(layer).quant_axis or 0
    shape = [1] * weight.integers.ndim
    shape[axis] = -1
    grid = weight.qparams
    scale = np.asarray(grid.scale, dtype=np.float64) * np.abs(factor)
    integers = weight.integers * np.sign(factor).astype(weight.integers.dtype).reshape(shape)
    scales = np.maximum(np.where(factor == 0, 1.0, scale), np.finfo(np.float32).tiny).astype(np.float32)
    zero = np.zeros(scales.shape, np.int32)
    return IntegerWeight(integers, QParams(scales, zero, grid.quant_min, grid.quant_max, grid.num_bits, axis))
