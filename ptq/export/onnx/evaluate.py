"""What values of an ONNX graph are that are computed from constants alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...runtimes.onnxruntime import open_session
from ...util.extras import import_extra
from .graph import EditableGraph

__all__ = ["evaluate_values"]


def evaluate_values(graph: EditableGraph, values: Sequence[str]) -> list[np.ndarray]:
    """The arrays of these values, as ONNX Runtime computes them, operation by operation."""
    onnx = import_extra("onnx", "onnx")
    nodes = _ancestors(graph, values)
    made = [value for value in dict.fromkeys(values) if value not in graph.constants]
    found: dict[str, np.ndarray] = {}
    if nodes:
        read = {name for node in nodes for name in node.input} & graph.constants.keys()
        stored = [onnx.numpy_helper.from_array(np.asarray(graph.constants[name]), name) for name in sorted(read)]
        outputs = [onnx.ValueInfoProto(name=value) for value in made]
        alone = onnx.helper.make_graph(nodes, "constants", [], outputs, stored)
        model = onnx.helper.make_model(alone, opset_imports=graph.opsets, ir_version=8)
        answers = open_session(model.SerializeToString(), 1, optimized=False).run(made, {})
        found = dict(zip(made, answers, strict=True))
    return [graph.constants[value] if value in graph.constants else found[value] for value in values]


def _ancestors(graph: EditableGraph, values: Sequence[str]) -> list[Any]:
    """The nodes that compute the values, each behind those that it reads."""
    ordered: list[Any] = []
    done: set[int] = set()
    stack = [(node, False) for value in values if (node := graph.producer(value)) is not None]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            ordered.append(node)
        elif id(node) not in done:
            done.add(id(node))
            stack.append((node, True))
            stack.extend((source, False) for name in node.input if (source := graph.producer(name)) is not None)
    return ordered
