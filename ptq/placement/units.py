"""Compute layers with the operations that follow them, which are computed on integers or in float together.

An operation belongs to the last compute layer, in order of execution, from which a tensor reaches it.  What comes before the first
belongs to none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..graph.dataflow import Graph
from .plan import Placement, Plan

__all__ = ["NO_UNIT", "Edge", "Units"]

NO_UNIT = ""


@dataclass(frozen=True)
class Edge:
    """A tensor with a grid of its own.

    Attributes:
        site: the name of its place.
        producer: the layer whose unit computes it.
        readers: the layers in whose units it is read, each once.
        is_returned: the model returns it.
        shape: its sizes, -1 where the trace leaves one free.
    """

    site: str
    producer: str
    readers: tuple[str, ...]
    is_returned: bool
    shape: tuple[int, ...]


class Units:
    """The units of one model.

    Args:
        graph: its dataflow, batch norms folded.
        compute: names of the compute layers.
    """

    def __init__(self, graph: Graph, compute: Collection[str]) -> None:
        self._graph = graph
        sites = [site for site in graph.sites if site.layer in compute]
        within = {value: site.layer for site in sites for op in graph.ops_of(site) if op.inputs for value in op.outputs}
        within |= {value: site.layer for site in sites for value in (*site.outputs, *site.results)}
        self._of: dict[int, str] = {}
        self.order: dict[str, int] = {NO_UNIT: -1}
        for number, op in enumerate(graph.ops):
            own = next((within[value] for value in op.outputs if value in within), None)
            if own is None:
                own = max((self._of.get(value, NO_UNIT) for value in op.inputs), key=self.order.__getitem__, default=NO_UNIT)
            else:
                self.order.setdefault(own, number)
            self._of.update(dict.fromkeys(op.outputs, own))

    def of(self, value: int) -> str:
        """The layer whose unit computes a value."""
        return self._of.get(value, NO_UNIT)

    def values_of(self, layers: Collection[str]) -> set[int]:
        """What the units of these layers compute; with all units everything, also what comes before the first."""
        found = {*layers, NO_UNIT} if self.order.keys() <= {*layers, NO_UNIT} else set(layers)
        return {value for value, layer in self._of.items() if layer in found}

    def edges(self, placement: Placement, plan: Plan) -> list[Edge]:
        """The tensors of a placement, each with where it is computed and read; moved elements are read where they end up."""
        readers: dict[int, dict[str, None]] = {}
        for op in self._graph.ops:
            if not op.moves and op.outputs:
                for value in op.inputs:
                    readers.setdefault(plan.origin(value), {})[self.of(op.outputs[0])] = None
        returned = plan.origins(self._graph.outputs)
        return [
            Edge(site, self.of(value), tuple(readers.get(value, {})), value in returned, self._graph.shapes.get(value, ()))
            for site, value in placement.sites.items()
        ]
