"""Who feeds whom among the operations that the coverage lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from paddle import nn

from ...graph.dataflow import Graph
from ...graph.tracing import trace
from ...layers.gridded import ungridded
from ...placement.plan import Plan
from ...util.tracer import TRACER
from .coverage import call_to_trace
from .facts import Facts
from .work import Work, works_of

__all__ = ["flow"]


def flow(model: nn.Layer, input_spec: Sequence[Any] | None = None) -> tuple[list[str], list[tuple[int, int]]]:
    """The sites of the ledger's operations, in its order, and the pairs ``(from, to)`` of their numbers.

    Args:
        model, input_spec: as for `coverage`.

    Raises:
        TraceError: the model cannot be traced.
    """
    facts = Facts(model)
    args, kwargs = call_to_trace(model, input_spec)
    with TRACER:
        graph = trace(ungridded(model), args, kwargs)
    plan = Plan(graph, [name for name in facts.layers if facts.has_weight(name)])
    # a layer that passes its input on, such as a folded batch norm, is no place of its own
    works = [work for work in works_of(graph, plan) if work.core is not None]
    maker = {value: number for number, work in enumerate(works) for op in work.ops for value in op.outputs if not plan.is_weight(value)}
    maker |= {value: number for number, work in enumerate(works) if work.call is not None for value in (*work.call.outputs, *work.results)}
    pairs = {(source, number): None for number, work in enumerate(works) for source in _sources(work, number, maker, graph, plan)}
    return [work.name for work in works], sorted(pairs)


def _sources(work: Work, number: int, maker: dict[int, int], graph: Graph, plan: Plan) -> Iterator[int]:
    """Numbers of the works that a work reads from, past structure such as the list of a concat."""
    pending = [value for op in work.ops for value in op.inputs] + (list(work.call.inputs) if work.call is not None else [])
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        seen.add(value)
        source, producer = maker.get(value), graph.producer(value)
        if source is not None and source != number:
            yield source
        elif source is None and producer is not None and not plan.is_weight(value):
            pending += producer.inputs
