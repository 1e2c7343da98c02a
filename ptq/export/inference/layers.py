"""The compute operations of a legacy program, and what each lacks to be computed in int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from ...util.paddle_private import OldIrGuard

__all__ = ["Layer", "read_layers"]

CONVOLUTIONS = {"conv2d", "depthwise_conv2d", "conv3d", "conv2d_transpose"}
PRODUCTS = {"matmul_v2", "bmm"}
# What only moves elements hands on the grid of what it reads.
MOVES = {"reshape2", "transpose2", "flatten_contiguous_range", "squeeze2", "unsqueeze2", "slice", "strided_slice", "split", "pad3d"}
MOVES |= {"max_pool2d_with_index", "concat", "expand_v2", "tile", "nearest_interp_v2", "gather", "assign"}
STORED = (".weight_quantized", ".weight")


@dataclass(frozen=True)
class Layer:
    """One compute operation: its name (the layer's, where the file knows it), type, sizes as `Primitive.sizes`, and what it lacks."""

    name: str
    op: str
    sizes: tuple[int, ...]
    lacks: str


def read_layers(pdmodel: Path) -> list[Layer]:
    """The compute operations of a program, in order; in a process of its own, as the legacy mode is global."""
    with OldIrGuard():
        block = paddle.static.Program.parse_from_string(pdmodel.read_bytes()).global_block()
        producers = {name: op for op in block.ops for name in op.output_arg_names}
        return [_layer(block, producers, op) for op in block.ops if op.type in CONVOLUTIONS | PRODUCTS]


def _layer(block: Any, producers: dict[str, Any], op: Any) -> Layer:
    first, second = op.input_arg_names if op.type in PRODUCTS else (op.input("Input")[0], op.input("Filter")[0])
    weight = _stored(block, producers, second)
    lacks = [
        what
        for what, name in (
            ("its input lies on no grid", first),
            ("its weight is float" if weight else "its second operand lies on no grid", second),
        )
        if not _is_quantized(producers, name)
    ]
    shape = tuple(int(size) for size in block.var(second).shape)
    return Layer(_label(weight) or op.output_arg_names[0], op.type, _sizes(op, shape, bool(weight)), " and ".join(lacks))


def _sizes(op: Any, shape: tuple[int, ...], has_weight: bool) -> tuple[int, ...]:
    if op.type in PRODUCTS:
        inner, outer = shape[-2:] if not (op.type == "matmul_v2" and op.attr("trans_y")) else shape[:-3:-1]
        return (inner, outer) if has_weight else ()
    groups = op.attr("groups")
    if op.type == "conv2d_transpose":
        return groups, shape[0], shape[1] * groups, *shape[2:]
    return groups, shape[1] * groups, shape[0], *shape[2:]


def _stored(block: Any, producers: dict[str, Any], name: str) -> str:
    """The stored tensor that an operand is made of and nothing else; an empty string when it is computed from the input."""
    op = producers.get(name)
    if op is None:
        return name if block.var(name).persistable else ""
    return _stored(block, producers, op.input("X")[0]) if op.type in MOVES | {"dequantize_linear", "cast"} else ""


def _label(weight: str) -> str:
    return next((weight.removesuffix(suffix) for suffix in STORED if weight.endswith(suffix)), weight)


def _is_quantized(producers: dict[str, Any], name: str) -> bool:
    op = producers.get(name)
    if op is None:
        return False
    if op.type in MOVES or (op.type == "pool2d" and op.attr("pooling_type") == "max"):
        return all(_is_quantized(producers, source) for source in (op.input("X") if "X" in op.input_names else op.input("Input")))
    return bool(op.type == "dequantize_linear")
