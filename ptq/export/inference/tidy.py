"""Small rewrites that change no number: what does nothing is left out, what engines would not recognize is put in their words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from .program import Op, Program

__all__ = ["drop_identities", "flatten_biases", "fold_causal_masks", "rename_parameters"]


def drop_identities(program: Program) -> None:
    """Leaves out dropout at inference, copies, and casts to the dtype that a tensor has."""
    program.rename({op.outputs[0]: str(op.inputs[0]) for op in program.ops if _is_identity(program, op)})
    program.drop_unread()


def _is_identity(program: Program, op: Op) -> bool:
    if op.kind == "dropout":
        return bool(op.attrs["is_test"]) and op.attrs["mode"] == "upscale_in_train"
    if op.kind == "cast":
        return program.tensors[str(op.inputs[0])].dtype == program.tensors[op.outputs[0]].dtype
    return op.kind in ("assign", "share_data")


def fold_causal_masks(program: Program) -> None:
    """Stores the triangle of a tensor filled with one number, which is added to something, once and not for every sample."""
    producers = program.producers()
    readers = Counter(name for op in program.ops if op.kind != "add" for name in op.reads())
    for op in list(program.ops):
        filled = producers.get(str(op.inputs[0])) if op.kind in ("triu", "tril") else None
        number = program.arrays.get(str(filled.inputs[1])) if filled is not None and filled.kind == "full_like" else None
        mask = program.tensors[op.outputs[0]]
        if number is None or readers[op.outputs[0]] or op.outputs[0] in program.outputs or min(mask.shape[-2:]) < 0:
            continue
        triangle = (np.triu if op.kind == "triu" else np.tril)(np.ones(mask.shape[-2:], bool), op.attrs["diagonal"])
        program.arrays[op.outputs[0]] = np.where(triangle, number.item(), 0.0).astype(mask.dtype)
        program.ops.remove(op)


def flatten_biases(program: Program) -> None:
    """Lets an addition read a bias as the vector it is stored as, not reshaped to the convolution's rank: engines fuse only that."""
    producers = program.producers()
    for op in program.ops:
        reshape = producers.get(str(op.inputs[1])) if op.kind == "add" else None
        if reshape is None or reshape.kind != "reshape" or str(reshape.inputs[0]) not in program.arrays:
            continue
        shape, bias = program.tensors[reshape.outputs[0]].shape, program.arrays[str(reshape.inputs[0])]
        if bias.ndim == 1 and sorted(shape)[:-1] == [1] * (len(shape) - 1) and len(shape) == len(program.tensors[op.outputs[0]].shape):
            op.inputs[1], op.attrs = reshape.inputs[0], {**op.attrs, "axis": shape.index(max(shape))}


def rename_parameters(program: Program, names: Mapping[str, str]) -> None:
    """Calls stored tensors by other names, such as the layers that hold them."""
    names = {old: new for old, new in names.items() if old in program.arrays and new not in program.tensors}
    for old, new in names.items():
        program.arrays[new] = program.arrays.pop(old)
        program.tensors[new] = program.tensors.pop(old)
    program.rename(names)
