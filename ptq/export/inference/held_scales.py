"""Keeps the engine from moving a layer's weight scales behind what reads its result.

OpenVINO multiplies by the scales as late as it can.  Where a grid and something else read what they were moved behind, it computes the
grid wrongly: all integers are zero (2025.0, which Paddle 3.3 bundles).  An addition stops the scales, unless it adds zero: that one is
optimized away, and a fresh bias is zero.
"""

from __future__ import annotations

import numpy as np

from .grids import GRID, WEIGHT
from .program import Op, Program

__all__ = ["hold_scales"]

CHANNELS = {"conv2d": 1, "depthwise_conv2d": 1, "conv2d_transpose": 1, "matmul": -1}  # axis of the results' channels
NOTHING = 1e-30  # far below any step


def hold_scales(program: Program) -> None:
    """Gives a bias of next to nothing to the quantized layers that have none, or only zeros, in place.

    A layer whose result goes to one grid and nowhere else needs none.
    """
    producers, readers = program.producers(), program.readers()
    names: dict[str, str] = {}
    added: dict[str, Op] = {}
    for op in program.ops:
        weight = producers.get(str(op.inputs[1])) if op.kind in CHANNELS else None
        if weight is None or weight.kind != WEIGHT:
            continue
        (result,), following = op.outputs, readers.get(op.outputs[0], [])
        if result not in program.outputs and len(following) == 1 and _is_settled(program, following[0]):
            continue
        tensor, axis = program.tensors[result], CHANNELS[op.kind]
        bias, names[result] = f"{result}.bias", f"{result}.biased"
        program.tensors[names[result]] = tensor
        program.add_array(bias, np.full(tensor.shape[axis], NOTHING, np.float32))
        added[result] = Op("add", [result, bias], [names[result]], {"axis": axis})
    program.rename(names)
    program.ops = [item for op in program.ops for item in (op, *(added[name] for name in op.outputs if name in added))]


def _is_settled(program: Program, reader: Op) -> bool:
    """Whether what alone reads a layer's result stops its scales: a grid, or a bias with something in it."""
    bias = program.arrays.get(str(reader.inputs[1])) if reader.kind == "add" else None
    return reader.kind == GRID or (bias is not None and bool(bias.any()))
