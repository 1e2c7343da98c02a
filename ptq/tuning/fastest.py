"""Finds the layers that int8 makes slower and leaves them float: profiled, chosen together, converted and profiled again, timed in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from paddle import nn

from ..calibration.state import State, state_of
from ..convert.apply import as_float
from ..imperative import ImperativePTQ
from ..placement.plan import Plan, place_full
from ..placement.targets import TARGETS
from ..placement.units import NO_UNIT, Edge, Units
from ..recovery.judge import CAP, Judge
from ..registry import PTQRegistry
from ..util.messages import warn
from .choice import Problem, choose
from .conditions import RUNTIMES, Conditions, runtime_for
from .costs import Costs
from .kernels import Attribution, LayerTimes
from .report import FLOAT, FULL, TuningReport, compared
from .stage import Stage

__all__ = ["Tuned", "find_fastest"]

# So often a choice is converted and profiled, and what is learned from it taken into the next.
ROUNDS = 3


@dataclass(frozen=True)
class Tuned:
    """The converted model that was fastest, the layers that it leaves float, and what was compared."""

    model: nn.Layer
    leave_float: tuple[str, ...]
    report: TuningReport


@dataclass
class _Search:
    """One calibrated model with the alternatives so far: the layers that each leaves float, and the dB of its answers."""

    engine: ImperativePTQ
    prepared: nn.Layer
    stage: Stage
    order: Mapping[str, int]
    edges: Sequence[Edge]
    left: dict[str, frozenset[str]] = field(default_factory=dict)
    decibels: dict[str, float] = field(default_factory=dict)

    @property
    def layers(self) -> list[str]:
        """The compute layers in order of execution."""
        return [name for name in self.order if name != NO_UNIT]

    def convert(self, name: str) -> nn.Layer:
        """The model of an alternative."""
        return self.engine.convert(self.prepared, inplace=False, leave_float=self.left[name])

    def profile(self, name: str, model: nn.Layer) -> dict[int, LayerTimes]:
        """Writes an alternative and profiles it with each batch size."""
        left = self.left[name]
        leaving = {edge.site for edge in self.edges if edge.producer not in left and not left.isdisjoint(edge.readers)}
        file = self.stage.write(name, model)
        attribution = Attribution(file, self.order, {edge.site for edge in self.edges}, leaving)
        return {batch: attribution.times(self.stage.profile(name, batch)) for batch in self.stage.feeds}

    def float_seconds(self, batch: int) -> float:
        """What the float model takes at present, by its profile."""
        return sum(kernel.seconds for kernel in self.stage.profile(FLOAT, batch))


def find_fastest(
    prepared: nn.Layer,
    engine: ImperativePTQ,
    conditions: Conditions,
    input_spec: Sequence[Any] | None = None,
    report: Callable[[str, int, int], None] = lambda *_: None,
    stage: Callable[..., Stage] = Stage,
) -> Tuned:
    """Leaves layers of a calibrated model float where that makes it faster.

    Args:
        prepared: calibrated with placement ``full``; left as it is.
        engine: with its config, whose target says which runtime is measured.
        conditions: batch sizes, threads, precision.
        input_spec: what the model will be saved with; the shapes that calibration saw when ``None``.
        report: told of progress: what, how much of it is done, and of how much.
        stage: makes what writes, profiles and times alternatives.

    Raises:
        ConfigError: the target has no runtime that can be measured.
        ExportError: the model cannot be written for it.
        MissingExtraError: an extra is not installed.
    """
    state = state_of(prepared)
    if state is None or state.traced.graph is None:
        raise TypeError("the model was not calibrated with placement 'full'")
    runtime, precision = runtime_for(state.config.target, conditions)
    with tempfile.TemporaryDirectory(prefix="ptq-fastest-") as folder:
        search = _search(prepared, engine, state, stage(folder, runtime, precision, conditions, input_spec))
        _find(search, report)
        report("timing alternatives", ROUNDS + 1, ROUNDS + 2)
        times = {batch: search.stage.times(list(search.left), batch) for batch in search.stage.feeds}
    setting = RUNTIMES[runtime].title, conditions.threads, precision
    found = compared(setting, times, search.decibels, search.left, len(search.layers))
    if found.chosen == FLOAT:
        warn(f"no int8 model is faster than float in {found.runtime}: placement 'fastest' leaves all {found.layers} layers float")
    left = search.left[found.chosen]
    return Tuned(search.convert(found.chosen), tuple(name for name in search.layers if name in left), found)


def _search(prepared: nn.Layer, engine: ImperativePTQ, state: State, stage: Stage) -> _Search:
    graph, target = state.traced.graph, TARGETS[state.config.target]
    if graph is None:
        raise TypeError("the model was not traced")
    layers = dict(prepared.named_sublayers(include_self=True))
    compute = {name: layer for name, layer in layers.items() if name in state.layers and PTQRegistry.is_simulated_quant_layer(layer)}
    units = Units(graph, compute)
    edges = units.edges(place_full(graph, compute, target), Plan(graph, compute, target))
    return _Search(engine, prepared, stage, units.order, edges)


def _find(search: _Search, report: Callable[[str, int, int], None]) -> None:
    """Adds alternatives to the search until the choice is one that was tried."""
    search.left |= {FULL: frozenset(), FLOAT: frozenset(search.layers)}
    report("profiling", 0, ROUNDS + 2)
    full = search.convert(FULL)
    float_model = as_float(full)
    judge = _judge(search.prepared, float_model)
    search.decibels |= {FULL: judge(full), FLOAT: CAP}
    int8, floats = search.profile(FULL, full), search.profile(FLOAT, float_model)
    costs = {batch: Costs(search.layers, search.edges, batch, int8[batch], floats[batch]) for batch in int8}
    for number in range(1, ROUNDS + 1):
        report("profiling", number, ROUNDS + 2)
        on_integers = choose(_together([cost.problem() for cost in costs.values()]))
        left = frozenset(name for name, kept in zip(search.layers, on_integers, strict=True) if not kept)
        if left in search.left.values():
            break
        name = f"choice{number}"
        search.left[name] = left
        model = search.convert(name)
        search.decibels[name] = judge(model)
        for batch, found in search.profile(name, model).items():
            pace = costs[batch].floats.total / max(search.float_seconds(batch), 1e-12)  # other programs come and go
            costs[batch].learn(found.scaled(pace), left)


def _judge(prepared: nn.Layer, float_model: nn.Layer) -> Callable[[nn.Layer], float]:
    """The dB of a model's answers to the samples that calibration kept; all alike where it kept none."""
    state = state_of(prepared)
    samples = [] if state is None else state.seen.samples
    return Judge(float_model, samples) if samples else lambda _: CAP


def _together(problems: Sequence[Problem]) -> Problem:
    """One problem of several about the same layers: their times added up."""
    int8, floats = (np.sum([getattr(problem, name) for problem in problems], axis=0) for name in ("int8", "floats"))
    joints = [
        replace(first, enter=first.enter + sum(other.enter for other in more), leave=first.leave + sum(other.leave for other in more))
        for first, *more in zip(*(problem.joints for problem in problems), strict=True)
    ]
    return Problem(int8, floats, joints)
