"""The rounding of twins in place, for forwards that are only looked at: the same operations, without a new tensor for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paddle
from paddle import nn

from ...layers import GridInput

__all__ = ["make_quick"]


def make_quick(model: nn.Layer) -> None:
    """Lets the twins of a structural copy round in place; answers stay the same to the bit.

    What is rounded twice in a row, by whoever looks and by the layer itself, is rounded once.
    """
    for layer in model.sublayers(include_self=True):
        # a twin with a rounding of its own (a subclass, an attribute) keeps it
        if isinstance(layer, GridInput) and type(layer).quantize_input is GridInput.quantize_input and layer.input_qparams is not None:
            vars(layer).setdefault("quantize_input", _quick(layer))


def _quick(layer: Any) -> Callable[[paddle.Tensor], paddle.Tensor]:
    last: list[tuple[paddle.Tensor, int, paddle.Tensor]] = []
    most = 2**layer.input_qparams.num_bits - 1

    def quantize_input(x: paddle.Tensor) -> paddle.Tensor:
        if x.dtype != paddle.float32:
            return GridInput.quantize_input(layer, x)
        if last and last[0][0] is x and last[0][1] == x.inplace_version:
            return last.pop()[2]
        scale, zero = layer.input_scale, layer.input_zero_point
        y = (x * layer.input_factor if "input_factor" in layer._buffers else x) / scale
        y.round_()
        y.add_(zero)
        y.clip_(0, most)
        y.subtract_(zero)
        y.multiply_(scale)
        last[:] = [(x, x.inplace_version, y)]
        return y

    return quantize_input
