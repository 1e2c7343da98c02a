"""Fully connected layers of an ONNX graph: a product with a stored weight and its bias become one Gemm, which runtimes have in int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import EditableGraph
from .weights import weight_of

__all__ = ["bias_after", "fuse_linear"]


def fuse_linear(graph: EditableGraph) -> None:
    """Writes products with a stored weight as Gemm, flattening inputs of more than two dimensions around it.

    Both ONNX Runtime and OpenVINO run a Gemm between two reshapes of integers faster than a product of more dimensions.  Where more
    than one of the leading dimensions is free, restoring them would cost more than it gains, and the product stays.
    """
    for node in graph.of("MatMul"):
        weight, shape = weight_of(graph, node.input[1]), graph.shape(node.input[0])
        if weight is not None and weight.integers.ndim == 2 and shape is not None and len(shape) >= 2:
            leading = [-1 if size is None else size for size in shape[:-1]]
            if len(leading) == 1 or leading.count(-1) <= 1:
                _write_gemm(graph, node, leading, *weight.integers.shape)


def _write_gemm(graph: EditableGraph, node: Any, leading: list[int], rows: int, columns: int) -> None:
    value, weight = node.input
    bias, add = bias_after(graph, node, columns)
    output = node.output[0] if add is None else add.output[0]
    graph.remove(node)
    if add is not None:
        graph.remove(add)
    operands = [weight] if bias is None else [weight, bias]
    if len(leading) == 1:
        graph.add("Gemm", [value, *operands], output, node.name)
        return
    flat, restored = ([-1, rows], [*leading, columns])
    matrix = graph.add("Reshape", [value, graph.constant(np.array(flat, np.int64), f"{node.name}:flat")])
    product = graph.add("Gemm", [matrix, *operands], "", node.name)
    graph.add("Reshape", [product, graph.constant(np.array(restored, np.int64), f"{node.name}:restored")], output)


def bias_after(graph: EditableGraph, node: Any, columns: int) -> tuple[str | None, Any | None]:
    """The constant that is added to a product and nothing else, with the node that adds it."""
    add = graph.only_reader(node.output[0])
    if add is None or add.op_type != "Add":
        return None, None
    bias = graph.constants.get(next((name for name in add.input if name != node.output[0]), ""))
    if bias is None or bias.dtype != np.float32 or bias.size != columns or bias.shape[-1] != columns:
        return None, None
    rank = len(graph.shape(node.output[0]) or graph.shape(node.input[0]) or ())
    return (graph.constant(bias.ravel(), f"{node.name}:bias"), add) if bias.ndim <= rank else (None, None)
