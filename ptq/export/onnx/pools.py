"""Means over the pixels of an image, written as the pool that runtimes have in int8."""

from __future__ import annotations

import numpy as np

from .graph import GRID, EditableGraph
from .grids import add_grid, grid_of, node_grid, site_of

__all__ = ["use_global_pools"]


def use_global_pools(graph: EditableGraph) -> None:
    """Turns a mean over height and width, from one grid to another, into GlobalAveragePool."""
    for node in graph.of("ReduceMean"):
        value, output = node.input[0], node.output[0]
        reader = graph.only_reader(output)
        axes = {axis % 4 for axis in graph.attribute(node, "axes") or ()}
        if (
            len(graph.shape(value) or ()) != 4
            or axes != {2, 3}
            or grid_of(graph, value) is None
            or reader is None
            or reader.op_type != GRID
        ):
            continue
        keeps = graph.attribute(node, "keepdims", 1)
        graph.remove(node)
        pooled = graph.add("GlobalAveragePool", [value], output if keeps else "", node.name)
        if not keeps:
            # the grid first: between two grids the runtimes see the pool, and the reshape moves integers
            graph.remove(reader)
            on_grid = add_grid(graph, pooled, node_grid(graph, reader), site_of(reader))
            shape = graph.constant(np.array([0, -1], np.int64), f"{node.name}:shape")
            graph.add("Reshape", [on_grid, shape], reader.output[0])
