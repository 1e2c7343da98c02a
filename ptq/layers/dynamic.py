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

__all__ = ["DYNAMIC", "dynamic_integers", "exact_dtype", "integer_view"]

DYNAMIC = ("tensor", "row")
_views: dict[type, type] = {}


def dynamic_integers(x: paddle.Tensor, kind: str) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Integers less their zero point, in float32 values of the shape of ``x``, and their scale, ``[]`` or ``[.., 1]``.

    Raises:
        ConfigError: there is no such kind.
    """
    x = x.astype("float32")
    # divisors are tensors: by a number Paddle multiplies with its reciprocal, which runtimes do not
    if kind == "row":
        largest = x.abs().max(axis=-1, keepdim=True)
        scale = paddle.where(largest == 0, paddle.ones_like(largest), largest / paddle.full([], 127.0))
        return paddle.round(x / scale), scale
    if kind != "tensor":
        raise ConfigError(f"a dynamic grid is one of {', '.join(DYNAMIC)}, got {kind!r}")
    low, high = paddle.clip(x.min(), max=0.0), paddle.clip(x.max(), min=0.0)
    width = high - low
    scale = paddle.where(width == 0, paddle.ones_like(width), width / paddle.full([], 255.0))
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
