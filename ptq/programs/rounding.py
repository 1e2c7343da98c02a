"""Where a saved quantized program rounds tensors to grids.

A twin writes divide, round, add, clip, subtract, multiply; replayed, each is a step of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .program import Program, layer_at
from .steps import Call

__all__ = ["Rounding", "is_join", "roundings"]

PATTERN = ("divide", "round", "add", "clip", "subtract", "multiply")
JOINS = ("add", "multiply", "concat", "subtract")


@dataclass(frozen=True)
class Rounding:
    """One rounding: the value that it reads and the one that it makes, and the grid in its unsigned form."""

    source: int
    result: int
    scale: float
    zero_point: int
    quant_max: int


def roundings(program: Program) -> list[Rounding]:
    """The roundings of a program that `load_program` opened, in the order of execution."""
    held = {place: (path, name) for place, path, name in program._held}
    found = []
    steps = program._steps
    for start in range(len(steps) - len(PATTERN) + 1):
        part = steps[start : start + len(PATTERN)]
        if not all(_is(step, name) for step, name in zip(part, PATTERN, strict=True)) or not _is_chain(part):
            continue
        scale, zero = (_number(program, held, part[index][2][1]) for index in (0, 2))
        bounds = part[3][1].arguments[1:]
        result = part[-1][3]
        if scale is not None and zero is not None and len(bounds) == 2 and bounds[0] == 0 and isinstance(result, int):
            found.append(Rounding(part[0][2][0], result, scale, round(zero), int(bounds[1])))
    return found


def _is(step: Any, function: str) -> bool:
    path, call = step[0], step[1]
    return not path and isinstance(call, Call) and call.function == function


def _is_chain(part: Sequence[Any]) -> bool:
    """Each step reads what the one before it made, and the same scale and zero point are used on the way back."""
    follows = all(after[2][0] == before[3] for before, after in itertools.pairwise(part))
    return follows and part[0][2][1:] == part[5][2][1:] and part[2][2][1:] == part[4][2][1:]


def _number(program: Program, held: dict[int, Any], place: int) -> float | None:
    if place not in held:
        return None
    path, name = held[place]
    tensor = getattr(layer_at(program, path), name)
    return float(tensor) if tensor.size == 1 else None


def is_join(program: Program, number: int) -> bool:
    """Whether a step puts two computed tensors together."""
    held = {place for place, _, _ in program._held}
    path, call, reads, _, _ = program._steps[number]
    return not path and isinstance(call, Call) and call.function in JOINS and sum(place not in held for place in reads) > 1
