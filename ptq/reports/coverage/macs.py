"""Multiply-accumulates of one operation, from the sizes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...graph.dataflow import Graph, Op

__all__ = ["COMPUTE_OPS", "CONVOLUTIONS", "PRODUCTS", "macs_of", "plain_name"]

CONVOLUTIONS = frozenset({"conv2d", "conv3d", "depthwise_conv2d"})
TRANSPOSED = frozenset({"conv2d_transpose", "conv3d_transpose", "depthwise_conv2d_transpose", "conv2d_transpose_bias"})
PRODUCTS = frozenset({"matmul", "bmm", "mv", "dot"})
COMPUTE_OPS = CONVOLUTIONS | TRANSPOSED | PRODUCTS | {"addmm", "einsum", "rnn"}

Shape = tuple[int, ...]


def plain_name(op: Op) -> str:
    """``add`` for ``pd_op.add`` and for ``pd_op.add_``."""
    return op.name.split(".", 1)[-1].rstrip("_")


def macs_of(op: Op, graph: Graph) -> int:
    """Multiply-accumulates of one run of the operation, a size that the trace left free counted as 1.

    Convolutions, matrix products, ``einsum`` (of two factors) and whole recurrent layers count; biases and what works element by
    element count nothing.  A loop's body counts once.
    """
    name = plain_name(op)
    if name not in COMPUTE_OPS:
        return 0
    shapes = [_shape(graph, value) for value in op.inputs]
    result = _shape(graph, op.outputs[0])
    if name in CONVOLUTIONS:  # weight [out, in / groups, *kernel]
        return math.prod(result) * math.prod(shapes[1][1:])
    if name in TRANSPOSED:  # weight [in, out / groups, *kernel]
        return math.prod(shapes[0]) * math.prod(shapes[1][1:])
    if name in PRODUCTS:
        return _product(shapes[0], shapes[1], result)
    if name == "addmm":
        return _product(shapes[1], shapes[2], result)
    factors = [_shape(graph, value) for value in _combined(op, graph)]
    return _einsum(op.equation, factors) if name == "einsum" else _recurrent(shapes[0], factors)


def _shape(graph: Graph, value: int) -> Shape:
    return tuple(max(size, 1) for size in graph.shapes.get(value, ()))


def _combined(op: Op, graph: Graph) -> list[int]:
    """The tensors of an operation's lists."""
    producers = [graph.producer(value) for value in op.inputs]
    return [value for producer in producers if producer is not None and producer.name == "builtin.combine" for value in producer.inputs]


def _product(x: Shape, y: Shape, result: Shape) -> int:
    """Whatever is transposed: all of the result's elements are sums over the one axis that it lacks."""
    if len(x) == 1 or len(y) == 1:
        summed = y[0] if len(y) == 1 else x[0]
    else:
        rows = result[-2]
        summed = x[-1] * x[-2] // rows
    return math.prod(result) * summed


def _einsum(equation: str, factors: Sequence[Shape]) -> int:
    """Product of all indices of an equation of two factors; an ellipsis makes it a question for the reader, and counts nothing."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(factors) != 2 or "." in equation or len(terms) != 2:
        return 0
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, factors, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), size)
    return math.prod(sizes.values())


def _recurrent(x: Shape, tensors: Sequence[Shape]) -> int:
    """Every weight matrix multiplies once in each step, [steps, batch, features]; the states among the tensors have three axes."""
    return math.prod(x[:2]) * sum(math.prod(shape) for shape in tensors if len(shape) == 2)
