"""From records to the list of steps that a forward runs, and the layers that the steps call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paddle import nn

from .layers import LAYERS, Built, materialize
from .names import name_layers, safe_name
from .operators import OPERATORS, build
from .records import Constant, Operation, Recorded
from .steps import Step

__all__ = ["Plan", "make_plan"]


@dataclass
class Held:
    """A constant that steps read: where the program holds it."""

    value: int
    layer: str
    name: str


@dataclass
class Plan:
    """What a program is made of.

    Attributes:
        steps: in order; values are numbers of places in a list of ``size``.
        held: constants that are put in their places before the first step.
        layers: by path; ``constants``: those that no layer holds, by name.
        sources: by path of a layer, the names of the file's parameters that its weights were made of.
    """

    steps: list[Step]
    inputs: list[int]
    outputs: list[int]
    size: int
    held: list[Held]
    layers: dict[str, nn.Layer] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)


def make_plan(recorded: Recorded) -> Plan:
    """Builds the layers and the steps.

    Raises:
        UnsupportedOperatorError: an operation is of a version that is not known.
    """
    built = {operation: LAYERS[operation.name](operation, recorded) for operation in recorded.operations if operation.name in LAYERS}
    layers, paths = _layers({operation: layer for operation, layer in built.items() if layer is not None}, recorded)
    steps = [_step(operation, recorded, built.get(operation), paths.get(operation, "")) for operation in recorded.operations]
    owners = _owners(built, paths)
    read = {value for step in steps for value in step.inputs} | set(recorded.outputs)
    held, constants = _held(sorted(read & recorded.constants.keys()), owners, recorded, set(layers))
    plan = Plan(steps, recorded.inputs, recorded.outputs, recorded.size, held, layers, constants, _sources(built, paths, recorded))
    _renumber(plan)
    return plan


def _layers(built: dict[Operation, Built], recorded: Recorded) -> tuple[dict[str, nn.Layer], dict[Operation, str]]:
    """One layer for all uses of the same weights."""
    first: dict[Any, Operation] = {}
    uses = {operation: first.setdefault(layer.key(recorded) or operation, operation) for operation, layer in built.items()}
    originals = list(dict.fromkeys(uses.values()))
    names = dict(zip(originals, name_layers([(operation, built[operation]) for operation in originals], recorded), strict=True))
    layers = {names[operation]: materialize(built[operation], recorded) for operation in originals}
    return layers, {operation: names[original] for operation, original in uses.items()}


def _sources(built: dict[Operation, Built | None], paths: dict[Operation, str], recorded: Recorded) -> dict[str, list[str]]:
    found = {paths[operation]: layer.weights.values() for operation, layer in built.items() if layer is not None}
    return {path: [name for value in weights if (name := recorded.constants[value].origin)] for path, weights in found.items()}


def _step(operation: Operation, recorded: Recorded, built: Built | None, path: str) -> Step:
    if built is None:
        return build(operation, recorded, *OPERATORS[operation.name])
    single = operation.outputs[0] if built.function is None or len(operation.outputs) == 1 else operation.outputs
    return Step(built.inputs, -1 if single is None else single, built.function, path)


def _owners(built: dict[Operation, Built | None], paths: dict[Operation, str]) -> dict[int, tuple[str, str]]:
    return {
        value: (paths[operation], name) for operation, layer in built.items() if layer is not None for name, value in layer.weights.items()
    }


def _held(
    values: list[int], owners: dict[int, tuple[str, str]], recorded: Recorded, taken: set[str]
) -> tuple[list[Held], dict[str, Constant]]:
    held, constants = [], {}
    taken = {name.split(".")[0] for name in taken}
    for value in values:
        if value in owners:
            held.append(Held(value, *owners[value]))
            continue
        constant = recorded.constants[value]
        base = safe_name(constant.parameter) if constant.parameter else "constant"
        name, number = base, 0
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        constants[name] = constant
        held.append(Held(value, "", name))
    return held, constants


def _renumber(plan: Plan) -> None:
    """Values get small numbers, and each step the list of those that nobody reads after it."""
    numbers: dict[int, int] = {}

    def number(value: int) -> int:
        return numbers.setdefault(value, len(numbers))

    plan.inputs = [number(value) for value in plan.inputs]
    for held in plan.held:
        held.value = number(held.value)
    for step in plan.steps:
        step.inputs = tuple(map(number, step.inputs))
        if isinstance(step.outputs, int):
            step.outputs = number(step.outputs)
        else:
            step.outputs = tuple(None if value is None else number(value) for value in step.outputs)
    plan.outputs = [number(value) for value in plan.outputs]
    plan.size = len(numbers)
    alive = {*plan.outputs, *(held.value for held in plan.held)}
    for step in reversed(plan.steps):
        outputs = (step.outputs,) if isinstance(step.outputs, int) else step.outputs
        touched = {*step.inputs, *(value for value in outputs if value is not None)}
        step.dead = tuple(sorted(touched - alive))
        alive |= touched
