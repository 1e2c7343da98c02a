"""Inputs whose grid is found in every call, computed as ONNX Runtime computes it.

``"tensor"``: `DynamicQuantizeLinear`, one grid from the smallest to the largest number of the whole input, zero included; what else is in
the batch changes it.  ``"row"``: integers -127..127 for each vector along the last axis by itself, which uint8 holds around 128.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ConfigError

from ..util.modes import untraced

__all__ = ["DYNAMIC", "DYNAMIC_BITS", "dynamic_integers", "exact_dtype", "integer_view", "kind_for", "why_not_dynamic"]

DYNAMIC = ("tensor", "row")
# Of the integers, and the most that weights may have beside them.
DYNAMIC_BITS = 8
CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
_views: dict[type, Any] = {}


def dynamic_integers(x: paddle.Tensor, kind: str) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Integers less their zero point, in float32 values of the shape of ``x``, and their scale, ``[]`` or ``[.., 1]``.

    Raises:
        ConfigError: there is no such kind.
    """
    x = x.astype("float32")
    # > and not ==, by which Paddle takes 1e-9 for zero; divisors are tensors, for with a number Paddle multiplies by its reciprocal
    if kind == "row":
        largest = x.abs().max(axis=-1, keepdim=True)
        scale = paddle.where(largest > 0, largest / paddle.full([], 127.0), paddle.ones_like(largest))
        return paddle.round(x / scale), scale
    if kind != "tensor":
        raise ConfigError(f"a dynamic grid is one of {', '.join(DYNAMIC)}, got {kind!r}")
    low, high = paddle.clip(x.min(), max=0.0), paddle.clip(x.max(), min=0.0)
    width = high - low
    scale = paddle.where(width > 0, width / paddle.full([], 255.0), paddle.ones_like(width))
    zero_point = paddle.round(paddle.clip(0.0 - low / scale, 0.0, 255.0))
    return paddle.clip(paddle.round(x / scale) + zero_point, 0.0, 255.0) - zero_point, scale


def exact_dtype(products: int) -> str:
    """The float type in which so many products of an activation with a weight are summed without rounding."""
    return "float32" if products * 255 * 127 < 1 << 24 else "float64"


@untraced
def integer_view(layer: Any) -> Any:
    """The twin as a layer of its float class, its weight the stored integers, without bias."""
    kind = layer.float_class
    if kind not in _views:
        _views[kind] = type(kind.__name__, (kind,), {"weight": property(_integers), "bias": property(lambda _: None)})
    view = _views[kind].__new__(_views[kind])
    object.__setattr__(view, "__dict__", layer.__dict__)
    return view


def _integers(view: nn.Layer) -> paddle.Tensor:
    return view.weight_quantized.astype(view._sum_dtype)


def kind_for(layer: nn.Layer, kind: str) -> str:
    """The kind of dynamic grid that the layer can have: a convolution has no rows."""
    return "tensor" if isinstance(layer, CONVOLUTIONS) else kind


def why_not_dynamic(layer: nn.Layer) -> str:
    """Why a layer gets integer weights only; empty where its input can have a dynamic grid."""
    if isinstance(layer, nn.Linear):
        return ""
    if isinstance(layer, CONVOLUTIONS):
        if layer._groups == 1:
            return ""
        return "ONNX Runtime's integer kernel for grouped convolutions runs at 0.06 to 0.34 of float; its weight alone is int8"
    if isinstance(layer, nn.Embedding):
        return "its input is no activation; its weight alone is int8"
    return f"no runtime has a dynamic integer kernel for {type(layer).__name__}; its weights alone are int8"
