"""Finds the grids in a saved program: fake-quantized tensors and integer weights, each becoming one operation."""

from __future__ import annotations

import numpy as np

from .program import Op, Program

__all__ = ["GRID", "WEIGHT", "find_grids"]

GRID = "grid"  # inputs [x]; attrs scale, zero_point (of the unsigned form), bits (2 to 8)
WEIGHT = "weight"  # inputs [integers]; attrs scale (an array), axis (None: one scale for the tensor)


def find_grids(program: Program) -> None:
    """Replaces the plain operations of fake quantization by `GRID` and `WEIGHT` operations, in place.

    A grid on a tensor that is already on the same grid changes nothing and is left out.
    """
    producers = program.producers()
    for index, op in enumerate(program.ops):
        found = _weight(program, producers, op) or _grid(program, producers, op)
        if found is not None:
            program.ops[index] = producers[op.outputs[0]] = found
    _merge_repeated(program)
    program.drop_unread()


def _grid(program: Program, producers: dict[str, Op], op: Op) -> Op | None:
    """``op`` as a grid, if it is the last step of `ptq.layers.fake_quantize`."""
    shifted, scale = _step(program, op, "multiply")
    clipped, zero_point = _step(program, producers.get(shifted), "subtract")
    clip = producers.get(clipped)
    if clip is None or clip.kind != "clip":
        return None
    rounded, added = _step(program, producers.get(str(clip.inputs[0])), "add")
    rounding = producers.get(rounded)
    if rounding is None or rounding.kind != "round" or rounding.attrs.get("decimals"):
        return None
    source, divisor = _step(program, producers.get(str(rounding.inputs[0])), "divide")
    low, high = (program.arrays.get(str(bound)) for bound in clip.inputs[1:])
    if scale is None or zero_point is None or low is None or high is None or divisor != scale or added != zero_point:
        return None
    bits = int(high.item() + 1).bit_length() - 1
    if low.item() != 0 or high.item() != 2**bits - 1 or not 2 <= bits <= 8 or zero_point != round(zero_point):
        return None
    return Op(GRID, [source], op.outputs, {**op.attrs, "scale": scale, "zero_point": int(zero_point), "bits": bits})


def _step(program: Program, op: Op | None, kind: str) -> tuple[str, float | None]:
    """The tensor and the one number that a step of the given kind combines; an empty name when ``op`` is no such step."""
    if op is None or op.kind != kind:
        return "", None
    number = program.arrays.get(str(op.inputs[1]))
    return (str(op.inputs[0]), number.item()) if number is not None and number.size == 1 else ("", None)


def _weight(program: Program, producers: dict[str, Op], op: Op) -> Op | None:
    """``op`` as a weight, if it multiplies stored integers by their scale."""
    if op.kind != "multiply":
        return None
    cast, scale = producers.get(str(op.inputs[0])), program.arrays.get(str(op.inputs[1]))
    integers = program.arrays.get(str(cast.inputs[0])) if cast is not None and cast.kind == "cast" else None
    if cast is None or integers is None or scale is None or integers.dtype != np.int8:
        return None
    wide = [axis for axis, size in enumerate(scale.shape) if size > 1]
    if len(wide) > 1 or (wide and scale.ndim != integers.ndim):
        return None
    return Op(WEIGHT, cast.inputs[:1], op.outputs, {**op.attrs, "scale": scale.reshape(-1), "axis": wide[0] if wide else None})


def _merge_repeated(program: Program) -> None:
    """A grid on a tensor of the same grid, or beside the same grid on the same tensor, is that grid."""
    first: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    on: dict[str, tuple[object, ...]] = {}
    for op in program.ops:
        if op.kind == GRID:
            (name,), source = op.outputs, names.get(str(op.inputs[0]), str(op.inputs[0]))
            grid = (op.attrs["scale"], op.attrs["zero_point"], op.attrs["bits"])
            same = source if on.get(source) == grid else first.setdefault((source, *grid), name)
            if same != name:
                names[name] = same
            on[name] = grid
    program.rename(names)
