"""Layers that one forward calls several times: how far the ranges of their inputs lie apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from paddle import nn

from ...graph.dataflow import Graph
from ...registry import PTQRegistry
from .report import Finding, Severity

__all__ = ["repeated_calls"]


def repeated_calls(model: nn.Layer, graph: Graph | None, ranges: Mapping[str, Sequence[float]] | None) -> Iterator[Finding]:
    """Findings on layers with weights that are called several times.

    Args:
        model: the model.
        graph: its dataflow; without it, or where it branches, all calls of a layer share one range.
        ranges: abs-max of the input of every call, by layer; ``None`` when no data was run.
    """
    has_places = graph is not None and not any(op.has_blocks for op in graph.ops) and "forward" not in vars(model)
    for name, layer in model.named_sublayers(include_self=True):
        if not PTQRegistry.is_simulated_quant_layer(layer):
            continue
        found = None if ranges is None else ranges.get(name, [])
        calls = len(graph.sites_of(name)) if found is None and graph is not None else len(found or [])
        if calls > 1:
            yield _finding(name, calls, None if found is None else _gap(found), has_places)


def _gap(ranges: Sequence[float]) -> float:
    """Bits between the largest and the smallest abs-max, those of zeros left out."""
    used = [value for value in ranges if value > 0]
    return math.log2(max(used) / min(used)) if used else 0.0


def _finding(name: str, calls: int, gap: float | None, has_places: bool) -> Finding:
    apart = "how far the ranges of their inputs lie apart is unknown without an example"
    if gap is not None:
        apart = f"the ranges of their inputs lie {gap:.1f} bits apart"
    message = f"{calls} calls in one forward; {apart}"
    if has_places:
        return Finding("info", name, "called-again", message, "nothing: every call gets a range of its own, the weights stay shared")
    severity: Severity = "info" if gap is not None and gap < 1 else "warning"
    advice = "give each call a layer of its own, or make forward traceable without branches: now one range serves them all"
    return Finding(severity, name, "called-again", message, advice)
