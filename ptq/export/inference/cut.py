"""A program cut at its grids, so that an engine computes every layer from the same inputs as the reference did."""

from __future__ import annotations

from typing import Any

from .grids import GRID, WEIGHT
from .merged import GAIN, ROUNDING
from .program import Op, Program

__all__ = ["GIVEN", "cut", "describe", "grids_of"]

GIVEN = ".given"  # after the name of a grid's result: the input that stands in for it


def grids_of(program: Program) -> list[str]:
    """Names of the tensors that lie on a grid, in order."""
    return [op.outputs[0] for op in program.ops if op.kind == GRID]


def cut(program: Program) -> Program:
    """Every grid's result becomes an output; what reads it reads a new input instead, put on the same grid.

    That second grid changes no value and keeps the engine's integer kernels.
    """
    names, ops, read = {}, [], _read(program)
    outputs, results = list(program.outputs), grids_of(program)
    for op in program.ops:
        if op.kind == GRID and op.outputs[0] in read:
            (result,) = op.outputs
            given, names[result] = result + GIVEN, f"{result}.again"
            program.tensors[given] = program.tensors[names[result]] = program.tensors[result]
            program.inputs.append(given)
            ops.append(Op(GRID, [given], [names[result]], op.attrs))
    program.rename(names)
    program.ops = ops + program.ops
    program.outputs = results + outputs
    return program


def _read(program: Program) -> set[str]:
    return {name for op in program.ops for name in op.reads()}


def describe(program: Program) -> dict[str, Any]:
    """Where each grid is, its scale, whether an operation reads it, and by how much its values may differ, each rounded one step the
    other way; and the numbers of the outputs that lie on no grid."""
    producers, on_grid, read = program.producers(), set(grids_of(program)), _read(program)
    grids = [
        {
            "place": _place(producers, op),
            "scale": op.attrs["scale"],
            "tolerance": op.attrs["scale"] + GAIN * _merged(producers, str(op.inputs[0])),
            "read": op.outputs[0] in read,
        }
        for op in program.ops
        if op.kind == GRID
    ]
    return {"grids": grids, "loose": [number for number, name in enumerate(program.outputs) if name not in on_grid]}


def _merged(producers: dict[str, Op], name: str) -> float:
    """The largest step among the grids that the engine merges into the computation of a tensor."""
    op = producers.get(name)
    if op is None or op.kind == GRID:
        return 0.0
    return float(op.attrs["scale"]) if op.kind == ROUNDING else max((_merged(producers, source) for source in op.reads()), default=0.0)


def _place(producers: dict[str, Op], grid: Op) -> str:
    """What the grid's tensor is: the operation before the grid, and the weight of the nearest layer before that."""
    op = source = producers.get(str(grid.inputs[0]))
    if op is None or source is None:
        return f"input {grid.inputs[0]!r}"
    while op is not None and op.kind != GRID:
        weight = producers.get(str(op.inputs[1])) if len(op.inputs) > 1 else None
        if weight is not None and weight.kind == WEIGHT:
            return f"{source.kind!r} after the layer with weight {weight.inputs[0]!r}"
        op = producers.get(next(op.reads(), ""))
    return f"{source.kind!r} in {source.attrs.get('struct_name') or 'the model'}"
