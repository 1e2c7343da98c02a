"""Which tensors get a grid with placement ``full``: all that a runtime needs on one to stay in int8 between compute layers.

These are, by the traced graph: the inputs of compute layers, the operands of products, concatenations and of additions that a convolution's
result reaches on integers, what is averaged by a pool, results of convolutions, and what the model returns.  A result that only feeds an
activation which runtimes merge with the operation before it gets its grid after the activation.  Where elements are only moved (slices,
reshapes, max pools), the grid of the tensor they come from serves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from paddle import nn

from ..graph.dataflow import CallSite, Graph, Op
from ..graph.operators import Cost
from ..sites import CALL_INPUT, INPUT, ROOT
from .targets import ANY, PRODUCTS, Target

__all__ = ["Placement", "Plan", "place_calls", "place_full"]

CONVOLUTIONS = (Cost.CONVOLUTION, Cost.TRANSPOSED)
SUMS = frozenset({"add", "subtract"})


@dataclass
class Placement:
    """The plan.

    Attributes:
        sites: places whose result gets a grid, with the value of the graph that it is, in order of execution.
        useful: for those sites whose readers all saturate, the range beyond which values make no difference.
        unseen: operations whose result needs a grid and cannot get one, for interception did not see them: ``block.matmul``.
        inputs: for every compute layer whose input always lies on grids, the sites of these grids, one for each call of the layer.
    """

    sites: dict[str, int] = field(default_factory=dict)
    useful: dict[str, tuple[float, float]] = field(default_factory=dict)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)


def place_full(graph: Graph, compute: Mapping[str, nn.Layer], target: Target = ANY, floats: Collection[int] = ()) -> Placement:
    """Plans the grids of one model.

    Args:
        graph: its dataflow, batch norms folded.
        compute: the layers that will be quantized, by name.
        target: the runtime that the grids are for.
        floats: values that are computed in float, by whatever computes them.
    """
    plan = Plan(graph, compute, target)
    convolutions = {name for name, layer in compute.items() if isinstance(layer, target.convolutions)}
    needed: set[int] = set()
    for site in graph.sites:
        if floats and not set(site.results).isdisjoint(floats):
            continue
        if site.layer in compute and not isinstance(compute[site.layer], target.floats):
            needed.update(plan.origins(site.inputs[:1]))
        if site.layer in convolutions or (site.layer in compute and plan.is_merged(site.results)):
            needed.update(plan.settled(site.results))
    for op in graph.ops:
        if floats and not set(op.outputs).isdisjoint(floats):
            continue
        operands = plan.operands(op)
        needed.update(plan.origins(plan.unfused(operands, op)))
        if operands and op.plain_name in target.results:
            needed.update(plan.settled(op.outputs))
    if target.returns:
        needed.update(plan.origins(value for value in graph.outputs if value in graph.floating and value not in floats))
    sites = {site: value for value, site in plan.site_of.items() if value in needed}
    inputs = {layer: plan.grids_of(graph.sites_of(layer), sites) for layer in compute}
    return Placement(sites, plan.useful_ranges(sites), {layer: grids for layer, grids in inputs.items() if grids}, plan.unseen(needed))


def place_calls(graph: Graph, compute: Collection[str]) -> Placement:
    """Plans, for placement ``compute``, a grid for every use of those layers that the model calls several times.

    Their weights are shared, their inputs may have very different ranges.
    """
    placement = Placement()
    for layer in compute:
        calls = graph.sites_of(layer)
        if len(calls) > 1 and all(call.inputs for call in calls):
            sites = {f"{call.name}{CALL_INPUT}": call.inputs[0] for call in calls}
            placement.sites |= sites
            placement.inputs[layer] = list(sites)
    return placement


class Plan:
    """Where the tensors of one graph come from.

    Attributes:
        site_of: values that have a place of their own, with its name.
        target: the runtime that the grids are for.
    """

    def __init__(self, graph: Graph, compute: Collection[str], target: Target = ANY) -> None:
        self.graph = graph
        self.target = target
        self.site_of: dict[int, str] = {}
        for number, value in enumerate(graph.inputs):
            if value in graph.floating:
                self.site_of[value] = f"{INPUT}{number}"
        computed = {site.results[0] for site in graph.sites if site.results and site.layer in compute}  # a Conv1D ends with a squeeze
        results = [(site.results[0], site.name or ROOT) for site in graph.sites if site.results] + [
            (v, s) for s, v in graph.operations.items()
        ]
        order = {value: index for index, value in enumerate(value for op in graph.ops for value in op.outputs)}
        for value, site in sorted(results, key=lambda item: order.get(item[0], -1)):
            producer = graph.producer(value)
            if value in graph.floating and producer is not None and (value in computed or not producer.moves):
                self.site_of.setdefault(value, site)
        self._weights: set[int] = set()
        for op in graph.ops:
            if op.facts.is_stored or (op.name != "pd_op.data" and self._weights.issuperset(op.inputs)):
                self._weights.update(set(op.outputs) - set(graph.inputs))
        self._computed = computed
        convolved = [
            site for site in graph.sites if site.layer in compute and any(op.facts.cost in CONVOLUTIONS for op in graph.ops_of(site))
        ]
        self._convolved = {site.results[0] for site in convolved if site.results}
        self._on_integers = target.kernels | target.operands - PRODUCTS
        self._within = {id(op) for site in graph.sites if site.layer in compute for op in graph.ops_of(site)}

    def origin(self, value: int) -> int:
        """The tensor whose elements ``value`` holds, maybe in another order or shape."""
        while value not in self.site_of:
            producer = self.graph.producer(value)
            if producer is None or not producer.moves or not producer.inputs:
                break
            value = producer.inputs[0]
        return value

    def origins(self, values: Collection[int] | Iterator[int]) -> set[int]:
        """The origins of values."""
        return {self.origin(value) for value in values}

    def settled(self, values: Collection[int]) -> set[int]:
        """The values, or what merged activations make of them where nothing else reads them."""
        settled: set[int] = set()
        for value in values:
            results = {result for op in self.graph.consumers(value) for result in op.outputs}
            settled |= results if self.is_merged([value]) else {value}
        return settled

    def is_merged(self, values: Collection[int]) -> bool:
        """Whether nothing reads the values but activations that runtimes merge with the operation before."""
        readers = [op for value in values for op in self.graph.consumers(value)]
        return bool(readers) and all(op.plain_name in self.target.merged for op in readers) and not set(values) & set(self.graph.outputs)

    def unfused(self, operands: Collection[int], reader: Op) -> list[int]:
        """The operands of an operation that go through memory: of several that compute layers compute for it, all but the first."""
        fused = [value for value in operands if self.is_fused(value, reader)]
        computed = [value for value in fused if value in self._computed]
        return [value for value in operands if value not in fused] + computed[1:]

    def is_fused(self, value: int, reader: Op) -> bool:
        """Whether the runtime computes ``reader``, which alone reads ``value``, in one with what computes that."""
        producer = self.graph.producer(value)
        if reader.plain_name not in self.target.fused or len(self.graph.consumers(value)) != 1 or value in self.graph.outputs:
            return False
        if value in self._computed or producer is None:
            return value in self._computed
        return producer.plain_name in self.target.fused or producer.facts.cost is not Cost.NOTHING

    def useful_ranges(self, sites: dict[str, int]) -> dict[str, tuple[float, float]]:
        """What the readers of each site can tell apart, where they all saturate."""
        found = {}
        for site, value in sites.items():
            bounds = [op.saturates for op in self.graph.consumers(value)]
            if bounds and None not in bounds and value not in self.graph.outputs:
                found[site] = min(bound[0] for bound in bounds if bound), max(bound[1] for bound in bounds if bound)
        return found

    def operands(self, op: Op) -> list[int]:
        """The tensors that an operation outside compute layers needs on a grid; none when it works with weights or in float."""
        if id(op) in self._within or op.moves or not op.inputs or op.plain_name not in self.target.operands or self._feeds_float(op):
            return []
        if self.is_float_sum(op):
            return []
        if op.facts.averages:
            return [op.inputs[0]]
        first = self.graph.listed(op.inputs[0])
        operands = list(op.inputs[:2] if first == op.inputs[:1] else first)
        return operands if all(value in self.graph.floating and not self.is_weight(value) for value in operands) else []

    def is_float_sum(self, op: Op) -> bool:
        """Whether it adds tensors that no convolution puts on integers, as the residuals of a transformer are.

        An int8 sum of them would take two conversions, to save at most the one behind it.
        """
        return op.plain_name in SUMS and not any(self._is_on_integers(value) for value in op.inputs[:2])

    def _is_on_integers(self, value: int) -> bool:
        """Whether a convolution computes a tensor, or a kernel for integers of what one computes."""
        pending, known = [self.origin(value)], set[int]()
        while pending:
            value = pending.pop()
            if value in self._convolved:
                return True
            producer = self.graph.producer(value)
            if value not in known | self._computed and producer is not None and producer.plain_name in self._on_integers:
                pending += [self.origin(item) for read in producer.inputs for item in self.graph.listed(read)]
            known.add(value)
        return False

    def unseen(self, values: Collection[int]) -> list[str]:
        """The operations outside layers that compute values without a place, though interception knows them; each name once."""
        lost = {id(op): op for value in values if value not in self.site_of and (op := self.graph.producer(value)) is not None}
        in_layers = {id(op) for site in self.graph.sites for op in self.graph.ops_of(site)} if lost else set()
        ops = [op for op in self.graph.ops if id(op) in lost and id(op) not in in_layers and not op.moves]
        seen = [op for op in ops if op.facts.is_seen and not self._weights.issuperset(op.outputs)]
        return list(dict.fromkeys(f"{op.scope}.{op.plain_name}" if op.scope else op.plain_name for op in seen))

    def _feeds_float(self, op: Op) -> bool:
        readers = [reader for value in op.outputs for reader in self.graph.consumers(value)]
        return op.facts.joins and bool(readers) and all(reader.facts.takes_masks for reader in readers)  # masks may be infinite

    def is_weight(self, value: int) -> bool:
        """Whether a value depends on no input of the model."""
        return value in self._weights

    def grids_of(self, sites: list[CallSite], gridded: dict[str, int]) -> list[str]:
        """The sites of the grids that a layer's inputs lie on, empty when one of its inputs lies on none."""
        values = [self.origin(site.inputs[0]) for site in sites if site.inputs]
        names = [self.site_of.get(value) for value in values]
        return [name for name in names if name] if all(name in gridded for name in names) else []
