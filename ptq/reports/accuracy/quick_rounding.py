"""The rounding of twins for forwards that are only looked at: the same operations, without a new tensor for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn
from paddle.utils.dlpack import from_dlpack

from ...layers import GridInput

__all__ = ["make_quick"]

Array = npt.NDArray[Any]
_PIECE = 1 << 15


def make_quick(model: nn.Layer) -> None:
    """Lets the twins of a structural copy round quickly; answers stay the same to the bit.

    What is rounded twice in a row, by whoever looks and by the layer itself, is rounded once.
    """
    for layer in model.sublayers(include_self=True):
        # a twin with a rounding of its own (a subclass, an attribute) keeps it
        if isinstance(layer, GridInput) and type(layer).quantize_input is GridInput.quantize_input and layer.input_qparams is not None:
            layer.__dict__.setdefault("quantize_input", _quick(layer))


def _quick(layer: Any) -> Callable[[paddle.Tensor], paddle.Tensor]:
    last: list[tuple[paddle.Tensor, int, paddle.Tensor]] = []
    most = 2**layer.input_qparams.num_bits - 1

    def quantize_input(x: paddle.Tensor) -> paddle.Tensor:
        if x.dtype != paddle.float32 or not x.place.is_cpu_place() or not x.is_contiguous():
            return GridInput.quantize_input(layer, x)
        if last and last[0][0] is x and last[0][1] == x.inplace_version:
            return last.pop()[2]
        given = np.from_dlpack(layer.before_rounding(x).detach())
        y = from_dlpack(_rounded(given, np.float32(layer.input_scale), np.float32(layer.input_zero_point), np.float32(most)))
        last[:] = [(x, x.inplace_version, y)]
        return y

    return quantize_input


def _rounded(x: Array, scale: Any, zero: Any, most: Any) -> Array:
    """`fake_quantize` in float32, piece by piece, so that a piece stays in the processor's cache from the first operation to the last."""
    result = np.empty(x.shape, np.float32)
    source, target = x.reshape(-1), result.reshape(-1)
    for start in range(0, source.size, _PIECE):
        y = target[start : start + _PIECE]
        np.divide(source[start : start + _PIECE], scale, out=y)
        np.rint(y, out=y)
        np.add(y, zero, out=y)
        np.maximum(y, np.float32(0), out=y)
        np.minimum(y, most, out=y)
        np.subtract(y, zero, out=y)
        np.multiply(y, scale, out=y)
    return result
