"""Collects what GPTQ and AWQ go by: the products of each layer's inputs, with the layers before it as they will be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

from quantizers.errors import NonFiniteError

from ..calibration.batches import Call
from ..registry import input_argument
from ..util.modes import eval_mode
from .rounding import InputProducts

__all__ = ["call_order", "has_products", "products_of"]


def has_products(layer: nn.Layer) -> bool:
    """Whether the layer is a product of its input, or of patches of it, with one matrix."""
    if isinstance(layer, nn.Linear):
        return True
    return isinstance(layer, nn.Conv2D) and layer._groups == 1 and layer._padding_mode == "zeros" and layer._data_format == "NCHW"


def call_order(model: nn.Layer, layers: Sequence[nn.Layer], call: Call) -> list[list[nn.Layer]]:
    """The layers in the order in which they are called first; those that read the same tensor, one after the other, together."""
    order: list[tuple[Any, list[nn.Layer]]] = []
    seen: set[int] = set()

    def note(layer: nn.Layer, x: paddle.Tensor) -> None:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        if order and order[-1][0] is x:
            order[-1][1].append(layer)
        else:
            order.append((x, [layer]))  # the tensor is kept, so that no other can get its id

    _run(model, layers, [call], note)
    return [group for _, group in order]


def products_of(model: nn.Layer, layers: Sequence[nn.Layer], calls: Sequence[Call]) -> dict[nn.Layer, InputProducts]:
    """The products of the inputs of layers over all calls of the model, which must be held in memory.

    Raises:
        NonFiniteError: an input holds NaN or Inf.
    """
    found: dict[nn.Layer, InputProducts] = {}

    def add(layer: nn.Layer, x: paddle.Tensor) -> None:
        rows = _columns(layer, x)
        own = found.setdefault(layer, InputProducts(np.zeros((rows.shape[1], rows.shape[1])), np.zeros(rows.shape[1])))
        product = paddle.matmul(rows, rows, transpose_x=True).astype("float64").numpy()
        if not np.isfinite(product).all():
            raise NonFiniteError(f"the input of {layer.full_name()} holds NaN or Inf; check the data")
        total = own.count + rows.shape[0]
        own.magnitudes += (rows.abs().astype("float64").sum(axis=0).numpy() - own.magnitudes * rows.shape[0]) / total
        own.products += product
        own.count = total

    _run(model, layers, calls, add)
    return found


def _run(model: nn.Layer, layers: Sequence[nn.Layer], calls: Sequence[Call], see: Callable[[nn.Layer, paddle.Tensor], None]) -> None:
    def hook(layer: nn.Layer, args: tuple[Any, ...], kwargs: Any) -> None:
        see(layer, args[0] if args else kwargs[input_argument(type(layer))])

    handles = [layer.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers]
    try:
        with paddle.no_grad(), eval_mode(model):
            for args, kwargs in calls:
                model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()


def _columns(layer: nn.Layer, x: paddle.Tensor) -> paddle.Tensor:
    """What the rows of the weight are multiplied with, float32 ``[places, F]``."""
    x = x.astype("float32")
    if isinstance(layer, nn.Linear):
        return x.reshape([-1, x.shape[-1]])
    padding = layer._padding
    if isinstance(padding, str):
        padding = [0, 0] if padding.upper() == "VALID" else _same(layer, x)
    patches = F.unfold(x, layer._kernel_size, layer._stride, _unfold_padding(padding), layer._dilation)
    return patches.transpose([0, 2, 1]).reshape([-1, patches.shape[1]])


def _unfold_padding(padding: Any) -> Any:
    """`paddle.nn.functional.unfold` takes top, left, bottom, right; a convolution top, bottom, left, right."""
    if isinstance(padding, int):
        return padding
    flat = list(_flat(padding))[-4:]
    return [flat[0], flat[2], flat[1], flat[3]] if len(flat) == 4 else flat


def _flat(nest: Any) -> Iterator[int]:
    for item in nest:
        yield from _flat(item) if isinstance(item, (list, tuple)) else (item,)


def _same(layer: nn.Layer, x: paddle.Tensor) -> list[int]:
    sizes = []
    for axis in (0, 1):
        size, stride = x.shape[2 + axis], layer._stride[axis]
        need = max((-(-size // stride) - 1) * stride + layer._kernel_size[axis] - size, 0)
        sizes += [need // 2, need - need // 2]
    return sizes
