"""A learned number that is added behind an activation becomes part of the grid's zero point, where runtimes have it for nothing.

It then has to be a whole number of steps.  What is missing, at most half a step, goes through the convolution that reads the tensor and
into its bias; a border that the convolution fills with zeros lacks it, which is no more than rounding may cost there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from paddle import nn

from ..calibration.state import State
from ..graph.dataflow import Graph, Op
from ..layers import GridInput, QuantizedLayer
from ..registry import PTQRegistry
from .single_grids import SingleGrids

__all__ = ["settle_shifts"]

READERS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)


def settle_shifts(model: nn.Layer, state: State, grids: SingleGrids, twins: Mapping[str, GridInput]) -> None:
    """Makes sums with one learned number sums with whole steps of their grids; in place.

    Args:
        model: the calibrated model, for its parameters.
        grids: its grids.
        twins: all twins by name, among them those of the convolutions that read the sums.
    """
    graph = state.traced.graph
    if graph is None:
        return
    numbers = {tensor.name: tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.size == 1}
    for op in graph.ops:
        parameter = graph.added_number(op)
        if parameter not in numbers or (twin := grids.of(op.outputs[0])) is None or twin.input_qparams is None:
            continue
        reader = _only_reader(op, graph, twins)
        scale = float(twin.input_qparams.scale)
        number = float(numbers[parameter].astype("float32").item())
        steps = round(number / scale) if math.isfinite(number) else 0
        if reader is None or not 0 <= int(twin.input_qparams.zero_point - twin.input_qparams.quant_min) + steps <= 255:
            continue
        missing = number - steps * scale
        twin.shift_input(-missing)
        reader.shift_results(_gains(reader) * np.float32(missing))


def _only_reader(op: Op, graph: Graph, twins: Mapping[str, GridInput]) -> QuantizedLayer | None:
    """The convolution that alone reads the sum, in its only call."""
    value = op.outputs[0]
    sites = [site for site in graph.sites if value in site.inputs]
    if len(graph.consumers(value)) != 1 or len(sites) != 1 or value in graph.outputs or len(graph.sites_of(sites[0].layer)) != 1:
        return None
    twin = twins.get(sites[0].layer)
    return twin if isinstance(twin, QuantizedLayer) and isinstance(twin, READERS) else None


def _gains(reader: QuantizedLayer) -> npt.NDArray[np.float32]:
    """What an input of ones adds to each output channel away from the border, ``[C]``."""
    axis = PTQRegistry.layer_info(reader).quant_axis or 0
    weight = reader.weight.astype("float32").numpy().astype(np.float64)
    gains: npt.NDArray[np.float32] = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).sum(axis=1).astype(np.float32)
    return gains
