"""Splits a traced program into the operations that the ledger lists: one for every call of a leaf layer, one for every other operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...graph.dataflow import CallSite, Graph, Op
from ...placement.plan import Plan
from ...sites import ROOT
from .macs import COMPUTE_OPS, plain_name

__all__ = ["Work", "works_of"]

# What a layer is called after, whatever else it does.
NAMING = COMPUTE_OPS | {"batch_norm", "sync_batch_norm", "embedding"}

# How a program is written down, not what it computes.
STRUCTURE = frozenset(
    {"data", "full", "full_like", "full_int_array", "shape", "shape64", "numel", "fetch", "while", "if", "increment"}
    | {"create_array", "create_array_like", "array_write", "array_read", "array_length", "array_to_tensor"}
)


@dataclass(frozen=True)
class Work:
    """One line of the ledger before it is judged.

    ``name``: of the place; ``core``: the operation that gives it its type, ``None`` for a layer that passes its input on;
    ``ops``: all operations that serve it, parameters included; ``call``: the layer's call, ``None`` for a functional operation.
    """

    name: str
    core: Op | None
    ops: tuple[Op, ...]
    call: CallSite | None = None

    @property
    def results(self) -> tuple[int, ...]:
        """What others go on with."""
        if self.call is not None:
            return self.call.results[:1]
        return () if self.core is None else self.core.outputs

    @property
    def is_compute(self) -> bool:
        """Whether it multiplies and accumulates."""
        return any(plain_name(op) in COMPUTE_OPS for op in self.ops)


def works_of(graph: Graph, plan: Plan) -> list[Work]:
    """The works of a traced model, in the order of execution."""
    position = {id(op): index for index, op in enumerate(graph.ops)}
    owned: set[int] = set()
    found: list[tuple[int, Work]] = []
    for call in graph.sites:
        ops = sorted((op for op in graph.ops_of(call)), key=lambda op: position[id(op)])
        owned.update(map(id, ops))
        start = max((position[id(op)] for value in call.inputs[:1] if (op := graph.producer(value)) is not None), default=-1)
        found.append((position[id(ops[-1])] if ops else start, Work(call.name or ROOT, _core(ops, graph, plan), tuple(ops), call)))
    names = _names(graph)
    free = [op for op in graph.ops if id(op) not in owned]
    found += [(position[id(op)], Work(names[id(op)], op, (op, *_constants(op, graph, plan)))) for op in free if _is_work(op, graph, plan)]
    return [work for _, work in sorted(found, key=lambda item: item[0])]


def _core(ops: Sequence[Op], graph: Graph, plan: Plan) -> Op | None:
    """What a layer is there for: its convolution or product, else the first that computes, else the first that moves."""
    own = [op for op in ops if _is_work(op, graph, plan)]
    naming = [op for op in ops if plain_name(op) in NAMING]
    return next(iter(naming or [op for op in own if not op.moves] or own), None)


def _is_work(op: Op, graph: Graph, plan: Plan) -> bool:
    """Whether the operation computes on numbers that depend on the model's inputs."""
    if op.name.startswith(("builtin.", "cf.")) or plain_name(op) in STRUCTURE:
        return False
    is_real = any(value in graph.floating for value in (*op.inputs, *op.outputs))
    return is_real and bool(op.outputs) and not plan.is_weight(op.outputs[0])


def _constants(op: Op, graph: Graph, plan: Plan) -> Iterator[Op]:
    """The operations that compute an operation's operands from parameters alone."""
    pending, seen = list(op.inputs), set()
    while pending:
        producer = graph.producer(pending.pop())
        if producer is None or id(producer) in seen:
            continue
        seen.add(id(producer))
        if producer.name == "builtin.combine" or (producer.outputs and plan.is_weight(producer.outputs[0])):
            yield producer
            pending += producer.inputs


def _names(graph: Graph) -> dict[int, str]:
    """Names of operations outside leaf layers; ``sin~0`` for those that interception does not see, numbered within their layer."""
    sites = {value: site for site, value in graph.operations.items()}
    counts: Counter[str] = Counter()
    names = {}
    for op in graph.ops:
        name = next((sites[value] for value in op.outputs if value in sites), None)
        if name is None:
            local = f"{op.scope}.{plain_name(op)}" if op.scope else plain_name(op)
            name = f"{local}~{counts[local]}"
            counts[local] += 1
        names[id(op)] = name
    return names
