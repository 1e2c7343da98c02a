"""Grids that the engine merges into the layer before them together with what follows, and then forgets to round on.

OpenVINO runs convolution, grid and addition as one kernel, and rounds only when it stores the sum.  So the grid between them is
written in the open: the layer computes in units of the grid, of which a rounding by itself, without its second half, is kept.
"""

from __future__ import annotations

import numpy as np

from .grids import GRID, WEIGHT
from .program import Op, Program

__all__ = ["GAIN", "ROUNDING", "open_merged_grids"]

ROUNDING = "rounding"  # inputs [x, in units of the grid and centred]; attrs scale, zero_point
LAYERS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "matmul")
# What the engine appends to a layer's kernel, and how much it can enlarge a difference.
APPENDED = ("add", "subtract", "hardswish", "hardsigmoid", "swish", "silu", "sigmoid", "tanh", "gelu", "leaky_relu", "elu")
GAIN = 1.5


def open_merged_grids(program: Program) -> None:
    """Writes such grids as `ROUNDING`, in place; of the two operands of an addition only the later one is merged."""
    producers, readers = program.producers(), program.readers()
    for op in program.ops:
        if op.kind not in APPENDED:
            continue
        grids = [producers[name] for name in op.reads() if name in producers]
        private = [grid for grid in grids if len(readers[grid.outputs[0]]) == 1 and grid.outputs[0] not in program.outputs]
        layers = {id(grid): layer for grid in private if (layer := _layer(program, producers, readers, grid)) is not None}
        merged = max((grid for grid in private if id(grid) in layers), key=program.ops.index, default=None)
        if merged is not None:
            _open(program, merged, *layers[id(merged)])


def _layer(program: Program, producers: dict[str, Op], readers: dict[str, list[Op]], grid: Op) -> tuple[Op, Op] | None:
    """The weight and the bias addition of the layer whose result nothing but the grid reads."""
    bias = producers.get(str(grid.inputs[0]))
    if grid.kind != GRID or grid.attrs["bits"] != 8 or bias is None or bias.kind != "add" or str(bias.inputs[1]) not in program.arrays:
        return None
    layer = producers.get(str(bias.inputs[0]))
    weight = producers.get(str(layer.inputs[1])) if layer is not None and layer.kind in LAYERS else None
    chain = [op.outputs[0] for op in (bias, layer, weight) if op is not None]
    alone = all(len(readers[name]) == 1 and name not in program.outputs for name in chain)
    return (weight, bias) if weight is not None and weight.kind == WEIGHT and alone else None


def _open(program: Program, grid: Op, weight: Op, bias: Op) -> None:
    scale, centre = grid.attrs["scale"], grid.attrs["zero_point"] - 128
    weight.attrs = {**weight.attrs, "scale": weight.attrs["scale"] / np.float32(scale)}
    name = f"{grid.outputs[0]}.bias"
    program.add_array(name, (program.arrays[str(bias.inputs[1])] / np.float64(scale) + centre).astype(np.float32))
    bias.inputs[1] = name
    grid.kind = ROUNDING
