"""Keeps the engine from moving a layer's weight scales behind what reads its result.

OpenVINO multiplies by the scales as late as it can: behind pools, concats and activations.  A grid behind a concat of such layers it
then computes wrongly (2025.0, which Paddle 3.3 bundles: nearly all of its integers saturate).  An addition stops the scales.
"""

from __future__ import annotations

import numpy as np

from .grids import GRID, WEIGHT
from .program import Op, Program

__all__ = ["hold_scales"]

CHANNELS = {"conv2d": 1, "depthwise_conv2d": 1, "conv2d_transpose": 1, "matmul": -1}  # axis of the results' channels
NOTHING = 1e-30  # far below any step; a zero would be optimized away


def hold_scales(program: Program) -> None:
    """Adds a bias of next to nothing to the layers that have none and whose result is not put on a grid at once, in place."""
    producers = program.producers()
    readers: dict[str, list[Op]] = {}
    for op in program.ops:
        for name in op.reads():
            readers.setdefault(name, []).append(op)
    names: dict[str, str] = {}
    added: dict[str, Op] = {}
    for op in program.ops:
        weight = producers.get(str(op.inputs[1])) if op.kind in CHANNELS else None
        if weight is None or weight.kind != WEIGHT or all(reader.kind in ("add", GRID) for reader in readers.get(op.outputs[0], [])):
            continue
        (result,) = op.outputs
        tensor, axis = program.tensors[result], CHANNELS[op.kind]
        bias, names[result] = f"{result}.bias", f"{result}.biased"
        program.tensors[names[result]] = tensor
        program.add_array(bias, np.full(tensor.shape[axis], NOTHING, np.float32))
        added[result] = Op("add", [result, bias], [names[result]], {"axis": axis})
    program.rename(names)
    program.ops = [item for op in program.ops for item in (op, *(added[name] for name in op.outputs if name in added))]
