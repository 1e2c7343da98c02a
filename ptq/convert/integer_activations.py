"""HardSwish between two grids: computed on integers, where the target has the kernels that it is made of.

Left in float it costs a conversion to float, three passes over floats and one back, several times what the int8 convolution before it
takes.
"""

from __future__ import annotations

from ..calibration.state import State
from ..graph.dataflow import Graph, Op
from ..placement.targets import Target
from .single_grids import SingleGrids

__all__ = ["integer_activations"]

HARDSWISH = "hardswish"


def integer_activations(state: State, grids: SingleGrids, target: Target) -> list[str]:
    """The sites of activations that can be computed on integers: what they read, and what becomes of them, are on one grid each."""
    graph = state.traced.graph
    if graph is None or HARDSWISH not in target.on_integers:
        return []
    ops = [op for op in graph.ops if op.plain_name == HARDSWISH and grids.site(op.outputs[0])]
    return [grids.site(op.outputs[0]) for op in ops if grids.reaching(op.inputs[0]) is not None and _ends_on_grid(op, graph, grids)]


def _ends_on_grid(op: Op, graph: Graph, grids: SingleGrids) -> bool:
    result = op.outputs[0]
    if grids.of(result) is not None:
        return True
    readers = graph.consumers(result)
    is_shifted = len(readers) == 1 and result not in graph.outputs and bool(graph.added_number(readers[0]))
    return is_shifted and grids.of(readers[0].outputs[0]) is not None
