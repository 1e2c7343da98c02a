"""The traced dataflow of a model: who feeds whom, functional operations included.

Forward hooks also run while Paddle traces a model into a program, and then receive the program's values.  So every use of every
layer (a call site) maps to exact values of the program, and questions that dygraph hooks cannot answer ("what follows this
convolution?") are answered without guessing from names or order of definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .operators import Keeps, Operator, operator_of, plain_name

__all__ = ["CallSite", "Graph", "Op"]


@dataclass(frozen=True)
class Op:
    """One operation of the program; values are small integers, unique in their graph.

    ``constant``: the number that a ``full`` is filled with or that a ``pad3d`` puts around its input, else ``None``.
    ``moves``: it only moves, selects or repeats elements of its first input (or adds zeros), so that what lay on a grid still does.
    ``saturates``: inputs beyond these two bounds make no difference to the result.
    ``has_blocks``: it runs other operations, depending on data.
    ``parameter``: name of the parameter or buffer that it reads, which Paddle gave it; ``equation``: that of an ``einsum``.
    ``scope``: the place of the innermost layer that it belongs to, empty for the model itself.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constant: float | None = None
    moves: bool = False
    saturates: tuple[float, float] | None = None
    has_blocks: bool = False
    parameter: str = ""
    equation: str = ""
    scope: str = ""

    @property
    def plain_name(self) -> str:
        """Its name in the table of operators: ``add`` for ``pd_op.add_``."""
        return plain_name(self.name)

    @property
    def facts(self) -> Operator:
        """What the table of operators knows of it."""
        return operator_of(self.name)


@dataclass(frozen=True)
class CallSite:
    """One use of a leaf layer: the values that enter and leave its ``forward``.

    ``name``: of the place (``layer``, then ``layer@1``, ...); ``results``: what the model goes on with, once the layer's own hooks ran.
    """

    layer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name: str = ""
    results: tuple[int, ...] = ()


@dataclass
class Graph:
    """The dataflow of one traced model.

    Attributes:
        ops: operations in order.
        sites: the call sites of its leaf layers.
        outputs, inputs: values that the model returns, and the tensors that it is called with.
        ranks: number of dimensions of each value.
        operations: results of functional operations outside leaf layers, by the name of the place.
        floating: values of a floating-point type.
        shapes: sizes of each value, -1 for a size that the trace leaves free.
    """

    ops: list[Op] = field(default_factory=list)
    sites: list[CallSite] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    ranks: dict[int, int] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    operations: dict[str, int] = field(default_factory=dict)
    floating: set[int] = field(default_factory=set)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._producer = {value: op for op in self.ops for value in op.outputs}
        self._consumers: dict[int, list[Op]] = {}
        for op in self.ops:
            for value in dict.fromkeys(op.inputs):
                self._consumers.setdefault(value, []).append(op)
        self._readers: dict[int, list[CallSite]] = {}
        for site in self.sites:
            for value in site.inputs[:1]:
                self._readers.setdefault(value, []).append(site)

    def producer(self, value: int) -> Op | None:
        """The operation that computes ``value``."""
        return self._producer.get(value)

    def consumers(self, value: int) -> list[Op]:
        """The operations that read ``value``."""
        return self._consumers.get(value, [])

    def listed(self, value: int) -> tuple[int, ...]:
        """The values of a list, or the value itself."""
        producer = self.producer(value)
        return producer.inputs if producer is not None and producer.name == "builtin.combine" else (value,)

    def sites_of(self, layer: str) -> list[CallSite]:
        """All uses of the layer of that name."""
        return [site for site in self.sites if site.layer == layer]

    def layers(self) -> list[str]:
        """Names of the leaf layers that the model uses, in order of first use."""
        return list(dict.fromkeys(site.layer for site in self.sites))

    def ops_of(self, site: CallSite) -> list[Op]:
        """The operations between the inputs and the outputs of a call site, its parameters included."""
        found: dict[int, Op] = {}
        pending = [value for value in site.outputs if value not in site.inputs]
        while pending:
            op = self.producer(pending.pop())
            if op is not None and id(op) not in found:
                found[id(op)] = op
                pending.extend(value for value in op.inputs if value not in site.inputs)
        return list(found.values())

    def is_followed_by_activation(self, layer: str) -> bool:
        """Whether every use of the layer feeds activation functions and nothing else."""
        sites = self.sites_of(layer)
        return bool(sites) and all(self._feeds_activation(value) for site in sites for value in site.outputs)

    def _feeds_activation(self, value: int) -> bool:
        consumers = self.consumers(value)
        return value not in self.outputs and bool(consumers) and all(op.facts.activation for op in consumers)

    def is_nonnegative(self, value: int) -> bool:
        """Whether ``value`` cannot be negative, by the operations that compute it."""
        op = self.producer(value)
        if op is None or (op.constant is not None and op.constant < 0):
            return False
        if any(reader.name.endswith("_") and not reader.facts.nonnegative for reader in self.consumers(value)):
            return False  # changed in place: whoever reads the value may see something else
        if op.facts.nonnegative or op.name == "pd_op.full":
            return True
        if op.facts.keeps_nonnegative is Keeps.NOTHING or not op.inputs:
            return False
        sources = op.inputs if op.facts.keeps_nonnegative is Keeps.ALL else op.inputs[:1]
        return all(self.is_nonnegative(source) for source in sources)

    def has_nonnegative_input(self, layer: str) -> bool:
        """Whether the first input of the layer is never negative, at every call site."""
        sites = self.sites_of(layer)
        return bool(sites) and all(site.inputs and self.is_nonnegative(site.inputs[0]) for site in sites)

    def sole_reader(self, layer: str) -> str | None:
        """The one layer that receives all that ``layer`` computes, at every call site, when nothing else receives any of it."""
        readers: set[str | None] = set()
        for site in self.sites_of(layer):
            for value in site.outputs:
                alone = len(self.consumers(value)) == 1 and value not in self.outputs
                readers.update([reader.layer for reader in self._readers.get(value, [])] if alone else [None])
        reader = readers.pop() if len(readers) == 1 else None
        return reader if reader is not None and len(self.sites_of(reader)) == len(self.sites_of(layer)) else None

    def has_private_parameters(self, layer: str) -> bool:
        """Whether no operation outside the layer reads the layer's parameters."""
        sites = self.sites_of(layer)
        own = {id(op) for site in sites for op in self.ops_of(site)}
        parameters = (op for site in sites for op in self.ops_of(site) if op.name == "builtin.parameter")
        return all(id(reader) in own for op in parameters for value in op.outputs for reader in self.consumers(value))

    def added_number(self, op: Op) -> str:
        """The name of the parameter that an addition adds to its other operand; empty when it is none."""
        if op.plain_name != "add":
            return ""
        producers = [self.producer(value) for value in op.inputs[:2]]
        return next((producer.parameter for producer in producers if producer is not None and producer.parameter), "")

    def output_rank(self, layer: str) -> int:
        """Number of dimensions of the layer's output; 0 when it is never used."""
        sites = self.sites_of(layer)
        return self.ranks[sites[0].outputs[0]] if sites and sites[0].outputs else 0
