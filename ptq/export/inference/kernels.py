"""Which kernel Paddle Inference ran for each compute layer: oneDNN prints no names, so sizes and order tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...runtimes.onednn_log import Primitive
from ..report import Kernel
from .layers import Layer

__all__ = ["match"]


def match(layers: Sequence[Layer], primitives: Iterable[Primitive]) -> list[Kernel]:
    """The kernel of each layer: the next primitive of the layer's sizes is taken for its own."""
    waiting = [primitive for primitive in primitives if primitive.computes]
    return [_kernel(layer, _take(layer, waiting)) for layer in layers]


def _take(layer: Layer, waiting: list[Primitive]) -> Primitive | None:
    kinds = ("convolution", "deconvolution") if len(layer.sizes) > 2 else ("inner_product", "matmul") if layer.sizes else ("matmul",)
    for index, primitive in enumerate(waiting):
        if primitive.kind in kinds and (not layer.sizes or primitive.sizes() == layer.sizes):
            return waiting.pop(index)
    return None


def _kernel(layer: Layer, primitive: Primitive | None) -> Kernel:
    if primitive is None:
        reason = layer.lacks or "the engine merged it with others, or runs it without oneDNN"
        return Kernel(layer.name, layer.op, "not reported by oneDNN", False, reason)
    reason = "" if primitive.is_int8 else layer.lacks or "the engine chose a float kernel"
    return Kernel(layer.name, layer.op, f"{primitive.kind} {primitive.kernel}", primitive.is_int8, reason)
