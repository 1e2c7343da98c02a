"""Removes what the conversion from Paddle leaves in an ONNX graph: identities, constants computed anew, shapes asked for at run time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .graph import EditableGraph

__all__ = ["clean"]

# Folding is for scalars, shapes and biases; an integer weight stays as it is stored.
LARGEST_FOLDED = 1 << 20
RANDOM_OPS = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"})


def clean(graph: EditableGraph) -> None:
    """Simplifies the graph without a change to what it computes; fills its shapes."""
    _drop_identities(graph)
    _fold_constants(graph)
    graph.prune()
    graph.infer_shapes()
    _simplify_reshapes(graph)
    graph.prune()


def _drop_identities(graph: EditableGraph) -> None:
    for node in graph.of("Identity"):
        value = node.input[0]
        if value in graph.constants and graph.is_pinned(node.output[0]):
            continue
        graph.replace(node, value)


def _fold_constants(graph: EditableGraph) -> None:
    pending = list(graph)
    while pending:
        node = pending.pop(0)
        if not graph.holds(node) or not _is_foldable(graph, node):
            continue
        graph.constants[node.output[0]] = graph.evaluate(node)
        pending.extend(graph.readers(node.output[0]))
        graph.remove(node)


def _is_foldable(graph: EditableGraph, node: Any) -> bool:
    names = [name for name in node.input if name]
    return (
        bool(names)
        and len(node.output) == 1
        and node.domain == ""
        and node.op_type not in RANDOM_OPS
        and all(name in graph.constants for name in names)
        and not any(attribute.HasField("g") for attribute in node.attribute)
        and not any(graph.is_pinned(name) for name in node.output)
        and not any(graph.constants[name].dtype in (np.int8, np.int16) for name in names)
        and sum(graph.constants[name].size for name in names) <= LARGEST_FOLDED
    )


def _simplify_reshapes(graph: EditableGraph) -> None:
    """Gives a reshape a constant shape where it only copies dimensions of its input, so that no branch of the graph asks for shapes."""
    for node in graph.of("Reshape"):
        data, wanted = node.input[0], node.input[1]
        source = graph.producer(wanted)
        if source is None or source.op_type != "Concat" or graph.attribute(node, "allowzero", 0):
            continue
        sizes = [_size(graph, piece) for piece in source.input]
        numbers = [0 if size == (data, position) else size for position, size in enumerate(sizes)]
        free = [position for position, size in enumerate(numbers) if not isinstance(size, int)]
        if len(free) == 1 and -1 not in numbers:
            numbers[free[0]] = -1  # the only unknown size follows from the others
            free = []
        if not free:
            graph.set_input(node, 1, graph.constant(np.array(numbers, np.int64), f"{node.name}:shape"))


def _size(graph: EditableGraph, piece: str) -> int | tuple[str, int] | None:
    """One dimension of a computed shape: a number, or (value, axis) when it is that value's size there."""
    if piece in graph.constants:
        array = graph.constants[piece]
        return int(array.item()) if array.size == 1 else None
    node = graph.producer(piece)
    while node is not None and node.op_type in ("Unsqueeze", "Squeeze", "Cast", "Reshape"):
        node = graph.producer(node.input[0])
    if node is None or node.op_type not in ("Slice", "Gather") or any(name not in graph.constants for name in node.input[1:]):
        return None
    shape = graph.producer(node.input[0])
    if shape is None or shape.op_type != "Shape" or shape.attribute:
        return None
    rank = len(graph.shape(shape.input[0]) or ())
    chosen = np.arange(rank)
    if node.op_type == "Slice":
        start, stop = (int(graph.constants[name].item()) for name in node.input[1:3])
        chosen = chosen[start : min(stop, rank)] if math.prod(graph.constants[node.input[-1]].shape) == 1 else chosen
    else:
        chosen = chosen[graph.constants[node.input[1]].ravel()]
    if len(chosen) != 1:
        return None
    axis = int(chosen[0])
    known = (graph.shape(shape.input[0]) or ())[axis]
    return known if known is not None else (shape.input[0], axis)
