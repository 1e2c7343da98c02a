"""Weights and biases of an ONNX graph: stored integers become DequantizeLinear, biases move into their layer and become int32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import EditableGraph
from .grids import grid_of

__all__ = ["Weight", "attach_biases", "lower_biases", "name_layers", "name_of_layer", "recognise_weights", "weight_of", "write_weight"]

# A bias of more than this many steps of its int32 grid leaves no room for the sum of products that it is added to.
LARGEST_BIAS = 2**30
CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class Weight:
    """An int8 weight: its integers, its scales (shape [] or one per index of ``axis``), and the name of its constant."""

    name: str
    integers: np.ndarray
    scale: np.ndarray
    axis: int | None

    def full_scale(self) -> np.ndarray:
        """The scales, in the shape of the integers."""
        shape = [1] * self.integers.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        return np.broadcast_to(self.scale.reshape(shape), self.integers.shape)


def recognise_weights(graph: EditableGraph) -> None:
    """Turns ``cast(int8 weight) * scale`` into one DequantizeLinear, and moves or reshapes the integers where the graph would.

    Integers wider than int8 stay as they are: no runtime multiplies them.
    """
    for node in graph.of("Cast"):
        integers = graph.constants.get(node.input[0])
        multiply = graph.only_reader(node.output[0])
        if integers is None or integers.dtype != np.int8 or multiply is None or multiply.op_type != "Mul":
            continue
        other = next((name for name in multiply.input if name != node.output[0]), "")
        scale = graph.constants.get(other)
        if scale is None or scale.dtype != np.float32 or np.broadcast_shapes(scale.shape, integers.shape) != integers.shape:
            continue
        output = multiply.output[0]
        weight = _weight(node.input[0], integers, np.broadcast_to(scale, integers.shape))
        if weight is not None:
            graph.remove(multiply)
            write_weight(graph, weight, output)
            _absorb_movements(graph, output)
    graph.prune()


def _weight(name: str, integers: np.ndarray, scale: np.ndarray) -> Weight | None:
    """The weight, when its scale varies along one axis at most."""
    if (scale == scale.ravel()[0]).all():
        return Weight(name, integers, np.array(scale.ravel()[0]), None)
    for axis in range(scale.ndim):
        line = np.moveaxis(scale, axis, 0).reshape(scale.shape[axis], -1)
        if (line == line[:, :1]).all():
            return Weight(name, integers, np.ascontiguousarray(line[:, 0]), axis)
    return None


def write_weight(graph: EditableGraph, weight: Weight, output: str = "") -> str:
    """A DequantizeLinear of the weight."""
    inputs = [
        graph.constant(weight.integers, weight.name),
        graph.constant(weight.scale, f"{weight.name}:scale"),
        graph.constant(np.zeros(weight.scale.shape, np.int8), f"{weight.name}:zero_point"),
    ]
    axis: dict[str, Any] = {} if weight.axis is None else {"axis": weight.axis}
    return graph.add("DequantizeLinear", inputs, output, f"{weight.name}:dequantize", **axis)


def weight_of(graph: EditableGraph, value: str) -> Weight | None:
    """The stored int8 weight that a value is, if it is one."""
    node = graph.producer(value)
    if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in graph.constants:
        return None
    integers = graph.constants[node.input[0]]
    scale = graph.constants[node.input[1]]
    return Weight(node.input[0], integers, scale, graph.attribute(node, "axis") if scale.ndim else None)


def _absorb_movements(graph: EditableGraph, value: str) -> None:
    """Applies to the stored integers what the graph does to the weight before it is used: transposing and reshaping."""
    for node in graph.readers(value):
        if node.op_type not in ("Transpose", "Reshape", "Unsqueeze", "Squeeze") or any(n not in graph.constants for n in node.input[1:]):
            continue
        weight = weight_of(graph, value)
        if weight is None or graph.is_pinned(node.output[0]):
            continue
        integers, scale = (graph.evaluate(node, array) for array in (weight.integers, weight.full_scale()))
        moved = _weight(graph.fresh(f"{weight.name}:{node.op_type.lower()}"), integers, scale)
        if moved is not None:
            output = node.output[0]
            graph.remove(node)
            write_weight(graph, moved, output)
            _absorb_movements(graph, output)


def attach_biases(graph: EditableGraph) -> None:
    """Moves an addition of one number per channel into the convolution before it."""
    for node in graph.of(*CONVOLUTIONS):
        add = graph.only_reader(node.output[0])
        if len(node.input) > 2 or add is None or add.op_type != "Add":
            continue
        bias = graph.constants.get(next((name for name in add.input if name != node.output[0]), ""))
        rank = len(graph.shape(node.input[1]) or ())
        if bias is None or rank == 0 or bias.ndim > rank or bias.dtype != np.float32:
            continue
        channels = _channels(graph, node)
        bias = bias.reshape([1] * (rank - bias.ndim) + list(bias.shape))
        if bias.shape[1] not in (1, channels) or bias.size != bias.shape[1]:
            continue
        name = graph.constant(np.broadcast_to(bias.ravel(), (channels,)).copy(), f"{node.name}:bias")
        graph.set_input(node, 2, name)
        output = add.output[0]
        graph.remove(add)
        graph.rename_output(node, node.output[0], output)


def name_layers(graph: EditableGraph) -> None:
    """Names every layer after its weight: the path of the Paddle layer, then ``@1`` for a second use of it."""
    for node in graph.of(*CONVOLUTIONS, "MatMul"):
        weight = weight_of(graph, node.input[1])
        stored = weight.name if weight is not None else node.input[1] if node.input[1] in graph.constants else ""
        path = name_of_layer(stored)
        if path:
            graph.name(node, path)


def name_of_layer(stored: str) -> str:
    """The path of the layer whose weight has that name; empty where it is called otherwise."""
    path, _, suffix = stored.rpartition(".weight")
    return "" if suffix.removeprefix("_quantized").removesuffix(":transpose").strip("0123456789.:") else path


def _channels(graph: EditableGraph, node: Any) -> int:
    shape = graph.shape(node.input[1]) or ()
    size = shape[0] if node.op_type == "Conv" else (shape[1] or 0) * graph.attribute(node, "group", 1)
    return int(size or 0)


def lower_biases(graph: EditableGraph) -> None:
    """Stores the bias of every layer with integer input and weight as int32, in steps of the product of both scales."""
    for node in graph.of("Conv", "ConvTranspose", "Gemm"):
        bias = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        weight, grid = weight_of(graph, node.input[1]), grid_of(graph, node.input[0])
        if bias is None or weight is None or grid is None or grid.bits != 8 or bias.dtype != np.float32:
            continue
        if weight.scale.ndim and weight.scale.size != bias.size:
            continue  # the groups of a transposed convolution share their scales
        step = np.float64(grid.scale) * weight.scale
        too_small = np.abs(bias) > step * LARGEST_BIAS
        if too_small.any():
            weight = _coarser(weight, np.where(too_small, np.abs(bias) / LARGEST_BIAS / grid.scale, weight.scale))
            graph.set_input(node, 1, write_weight(graph, weight))
            step = np.float64(grid.scale) * weight.scale
        step = step.astype(np.float32)
        integers = np.rint(bias.astype(np.float64) / step).astype(np.int32)
        name = node.input[2]
        inputs = [graph.constant(integers, f"{name}:int32"), graph.constant(step, f"{name}:scale")]
        inputs.append(graph.constant(np.zeros(step.shape, np.int32), f"{name}:zero_point"))
        axis: dict[str, Any] = {"axis": 0} if step.ndim else {}
        graph.set_input(node, 2, graph.add("DequantizeLinear", inputs, "", f"{name}:dequantize", **axis))


def _coarser(weight: Weight, scale: np.ndarray) -> Weight:
    """The weight on grids of other scales: for channels so small that their bias would not fit into int32.

    Such a channel is its bias and next to nothing else; what its weights lose is below a billionth of the bias.
    """
    axis = None if scale.ndim == 0 else weight.axis if weight.axis is not None else 0
    target = Weight(f"{weight.name}:coarser", weight.integers, scale.astype(np.float32), axis)
    integers = np.rint(weight.integers * (weight.full_scale().astype(np.float64) / target.full_scale())).astype(np.int8)
    return Weight(target.name, integers, target.scale, axis)
