"""The layers at a model's ends: those that read its inputs, and those whose results become its outputs.

Few bits cost most there: an input has no redundancy yet, and no layer behind can make up for an error of an output.
"""

from __future__ import annotations

from collections.abc import Collection

from ..graph.dataflow import Graph, Op
from ..graph.operators import Cost

__all__ = ["end_layers"]


def end_layers(graph: Graph, layers: Collection[str]) -> list[str]:
    """The layers among ``layers`` at the ends, in order of execution; what lies between is followed up to the next product of matrices.

    Args:
        graph: the model's dataflow.
        layers: names of layers with weights.
    """
    owner = {id(op): site.layer for site in graph.sites if site.layer in layers for op in graph.ops_of(site)}
    parameters = {value for op in graph.ops if op.facts.is_stored for value in op.outputs} - set(graph.inputs)
    found = _reached(graph.ops, owner, set(graph.inputs), parameters) | _feeding(graph.ops, owner, set(graph.outputs))
    return [name for name in graph.layers() if name in found]


def _reached(ops: Collection[Op], owner: dict[int, str], values: set[int], parameters: set[int]) -> set[str]:
    """The layers that values come to."""
    found = set()
    for op in ops:
        if not values.intersection(op.inputs) or parameters.issuperset(op.outputs):
            continue
        if id(op) in owner:
            found.add(owner[id(op)])
        elif op.facts.cost is Cost.NOTHING:
            values.update(op.outputs)
    return found


def _feeding(ops: Collection[Op], owner: dict[int, str], values: set[int]) -> set[str]:
    """The layers that values come from."""
    found = set()
    for op in reversed(list(ops)):
        if not values.intersection(op.outputs):
            continue
        if id(op) in owner:
            found.add(owner[id(op)])
        elif op.facts.cost is Cost.NOTHING:
            values.update(op.inputs)
    return found
