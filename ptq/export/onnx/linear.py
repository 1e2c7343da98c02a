"""Fully connected layers of an ONNX graph: a product with a stored weight and its bias become one Gemm, which runtimes have in int8."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import EditableGraph
from .weights import weight_of

__all__ = ["bias_after", "fuse_linear"]


def fuse_linear(graph: EditableGraph) -> None:
    """Writes products of matrices with a stored weight as Gemm.

    Products of more dimensions stay: flattened around a Gemm, OpenVINO (2026.4) takes the scales of the outputs for those of the second
    dimension when it moves them behind the reshape, which fails, or where both are of one size gives wrong answers.
    """
    for node in graph.of("MatMul"):
        weight, shape = weight_of(graph, node.input[1]), graph.shape(node.input[0])
        if weight is not None and weight.integers.ndim == 2 and shape is not None and len(shape) == 2:
            _write_gemm(graph, node, int(weight.integers.shape[1]))


def _write_gemm(graph: EditableGraph, node: Any, columns: int) -> None:
    bias, add = bias_after(graph, node, columns)
    output = node.output[0] if add is None else add.output[0]
    graph.remove(node)
    if add is not None:
        graph.remove(add)
    graph.add("Gemm", [*node.input, *([] if bias is None else [bias])], output, node.name)


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
