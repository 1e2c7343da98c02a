"""Shapes that a program computes from those of its tensors, as far as they can be told beforehand."""

from __future__ import annotations

from .program import Op, Program

__all__ = ["fix_shapes"]

# A size, the axis of a tensor whose size it is, or unknown.
Size = int | tuple[str, int] | None


def fix_shapes(program: Program) -> None:
    """Gives a reshape constant sizes where at most one is free: engines take those, and merge what is around them."""
    producers = program.producers()
    for op in program.ops:
        target = str(op.inputs[1]) if op.kind == "reshape" else ""
        if target not in producers:
            continue
        sizes = _sizes(program, producers, target)
        wanted = [_wanted(size, (str(op.inputs[0]), axis)) for axis, size in enumerate(sizes or ())]
        if sizes is not None and wanted.count(-1) <= 1:
            op.inputs[1] = name = f"{op.outputs[0]}.shape"
            program.add_array(name, wanted)


def _wanted(size: Size, place: tuple[str, int]) -> int:
    """A reshape's word for a size: 0 for that of its input at the same place, -1 for what remains."""
    if isinstance(size, int):
        return size
    return 0 if size == place else -1


def _sizes(program: Program, producers: dict[str, Op], name: str) -> list[Size] | None:
    """The elements of a tensor of integers; ``None`` when not even their number is known."""
    if name in program.arrays:
        return [int(number) for number in program.arrays[name].ravel()]
    op = producers[name]
    if op.kind in ("shape", "shape64"):
        source = str(op.inputs[0])
        return [size if size >= 0 else (source, axis) for axis, size in enumerate(program.tensors[source].shape)]
    if op.kind == "cast":
        return _sizes(program, producers, str(op.inputs[0]))
    if op.kind in ("stack", "concat") and isinstance(op.inputs[0], tuple):
        parts = [_sizes(program, producers, part) for part in op.inputs[0]]
        return None if None in parts else [size for part in parts for size in part or ()]
    sizes = _sizes(program, producers, str(op.inputs[0])) if op.kind == "slice" else None
    bounds = [program.arrays.get(str(bound)) for bound in op.inputs[1:]] if sizes is not None else []
    if sizes is not None and all(bound is not None and bound.size == 1 for bound in bounds):
        start, end = (bound.item() for bound in bounds if bound is not None)
        return sizes[start:end]
    shape = program.tensors[name].shape
    return [None] * (shape[0] if shape else 1) if len(shape) <= 1 and -1 not in shape else None
