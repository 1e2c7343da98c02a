"""What the compute operations of a program compute, so that two programs of one net can be held against each other."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paddle import nn

from .program import Program, layer_at
from .steps import Call

__all__ = ["NORMS", "Tap", "compute_taps", "tapped"]

COMPUTE_LAYERS = (
    *(nn.Conv1D, nn.Conv2D, nn.Conv3D, nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose),
    *(nn.Linear, nn.LSTM, nn.GRU, nn.SimpleRNN),
)
NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D)
COMPUTE_CALLS = ("matmul", "matmul_with_flatten", "legacy_matmul", "einsum", "bmm")


@dataclass(frozen=True)
class Tap:
    """The result of one compute operation, its bias and the batch norm behind it included.

    ``name``: the layer's path, or the operation; ``place``: of the value among those of a forward; ``step``: number of the step that
    computes it, before bias and batch norm.
    """

    name: str
    place: int
    step: int = -1


def compute_taps(program: Program) -> list[Tap]:
    """The results of convolutions, products and recurrent layers, in the order in which they are computed."""
    held = {constant for constant, _, _ in program._held}
    readers: dict[int, list[int]] = defaultdict(list)
    for number, (_, _, reads, _, _) in enumerate(program._steps):
        for value in reads:
            readers[value].append(number)
    taps = []
    for number, (path, function, _, writes, _) in enumerate(program._steps):
        place: int | None = writes if isinstance(writes, int) else writes[0]
        if place is not None and _computes(program, path, function):
            taps.append(Tap(".".join(path) or function.function, _finished(program, place, readers, held), number))
    return taps


def tapped(program: Program, taps: Sequence[Tap]) -> Program:
    """A program with the same layers, whose results are those of the taps, always as a list; the given one is left as it is."""
    places = {tap.place for tap in taps}
    made = copy.copy(program)
    made._outputs = [tap.place for tap in taps] + [taps[0].place] * (len(taps) == 1)
    made._steps = [(*step[:4], tuple(place for place in step[4] if place not in places)) for step in program._steps]
    return made


def _computes(program: Program, path: tuple[str, ...], function: Any) -> bool:
    if not path:
        return isinstance(function, Call) and function.function in COMPUTE_CALLS
    return isinstance(layer_at(program, path), COMPUTE_LAYERS)


def _finished(program: Program, place: int, readers: dict[int, list[int]], held: set[int]) -> int:
    """The value behind the bias and the batch norm, where nothing else reads the values before them."""
    while place not in program._outputs and len(readers[place]) == 1:
        path, function, reads, writes, _ = program._steps[readers[place][0]]
        adds = not path and isinstance(function, Call) and function.function == "add" and bool(held & set(reads) - {place})
        if not (adds or (path and isinstance(layer_at(program, path), NORMS))):
            break
        following = writes if isinstance(writes, int) else writes[0]
        if following is None:
            break
        place = following
    return place
