"""The grids of an ONNX graph: fake quantizations recognised, merged, and written as QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import GRID, EditableGraph

__all__ = [
    "AGAIN",
    "INTEGERS",
    "Grid",
    "add_grid",
    "drop_saturating_activations",
    "grid_of",
    "is_transparent",
    "lower_grids",
    "merge_grids",
    "node_grid",
    "recognise_grids",
    "site_of",
    "written_grid",
]

# Operations that move or select values of their first input: what was on a grid still is, and both runtimes have them for integers.
TRANSPARENT = frozenset(
    ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "MaxPool", "DepthToSpace", "Expand", "Tile")
)
# After the name of a value: the integers that stand for it.
INTEGERS = ":integers"
# After the name of a grid's place, while the graph is rewritten: a layer may be called like its grid.
SITE = ":grid"
# After the name of a QuantizeLinear: the second of two equal ones.
AGAIN = ":again"


@dataclass(frozen=True)
class Grid:
    """``real = (q - zero_point) * scale``, ``q`` from 0 to ``2**bits - 1``."""

    scale: float
    zero_point: int
    bits: int = 8


def recognise_grids(graph: EditableGraph) -> None:
    """Turns every fake quantization in plain operations into one node `GRID`, named after the grid's scale."""
    for node in graph.of("Round"):
        found = _fake_quantize(graph, node)
        if found is not None:
            divide, grid, last = found
            graph.remove(last)
            add_grid(graph, divide.input[0], grid, _site(divide.input[1]), last.output[0])
    graph.prune()


def add_grid(graph: EditableGraph, value: str, grid: Grid, name: str, output: str = "") -> str:
    """Puts ``value`` on a grid; returns the name of what comes out."""
    return graph.add(GRID, [value], output, name + SITE, scale=grid.scale, zero_point=grid.zero_point, bits=grid.bits)


def site_of(node: Any) -> str:
    """What the place of a `GRID` node is called."""
    return str(node.name).replace(SITE, "")


def _site(scale: str) -> str:
    """What a grid is called, by the buffer that holds its scale: ``conv1.input``, or the place that the engine named."""
    _, is_placed, place = scale.rpartition("activation_grids.")
    return place.removesuffix(".input_scale").replace("/", ".") if is_placed else scale.removesuffix("_scale")


def _fake_quantize(graph: EditableGraph, node: Any) -> tuple[Any, Grid, Any] | None:
    """The first operation, the grid and the last operation of the pattern ``(clip(round(x / s) + z, 0, n) - z) * s``."""
    divide = graph.producer(node.input[0])
    if divide is None or divide.op_type != "Div":
        return None
    found, last = [], node
    for op_type in ("Add", "Clip", "Sub", "Mul"):
        reader = graph.only_reader(last.output[0])
        if reader is None or reader.op_type != op_type or reader.input[0] != last.output[0]:
            return None
        found.append([graph.number(name) for name in reader.input[1:]])
        last = reader
    zero_points, bounds, scales = found[0] + found[2], found[1], [graph.number(divide.input[1]), *found[3]]
    highest = bounds[-1] or 0.0
    is_grid = (
        *(None not in scales and len(set(scales)) == 1, None not in zero_points and len(set(zero_points)) == 1),
        *(len(bounds) == 2 and bounds[0] == 0, highest > 0 and np.log2(highest + 1).is_integer()),
        zero_points[0] is not None and float(zero_points[0]).is_integer(),
    )
    if not all(is_grid):
        return None
    return divide, Grid(float(scales[0] or 0), int(zero_points[0] or 0), int(np.log2(highest + 1))), last


def node_grid(graph: EditableGraph, node: Any) -> Grid:
    """The grid of a `GRID` node, as those who read the integers understand them."""
    written = written_grid(graph, node)
    scale, zero_point = (graph.attribute(node, f"read_{name}", getattr(written, name)) for name in ("scale", "zero_point"))
    return Grid(scale, zero_point, written.bits)


def written_grid(graph: EditableGraph, node: Any) -> Grid:
    """The grid that a `GRID` node rounds to; `labels` lets readers take the integers for other numbers."""
    return Grid(*(graph.attribute(node, name) for name in ("scale", "zero_point", "bits")))


def grid_of(graph: EditableGraph, value: str) -> Grid | None:
    """The grid that a value lies on, followed back through operations that only move values; ``None`` when there is none."""
    node = graph.producer(value)
    while node is not None and node.op_type != GRID:
        if not is_transparent(graph, node):
            return None
        node = graph.producer(node.input[0])
    return None if node is None else node_grid(graph, node)


def is_transparent(graph: EditableGraph, node: Any) -> bool:
    """Whether all outputs of a node lie on the grid of its first input."""
    if node.op_type == "Resize":
        return bool(graph.attribute(node, "mode", b"nearest") == b"nearest")
    if node.op_type == "Pad":  # with zero, which is on every grid
        is_constant = graph.attribute(node, "mode", b"constant") == b"constant"
        return not is_constant or len(node.input) < 3 or not node.input[2] or graph.number(node.input[2]) == 0
    return node.op_type in TRANSPARENT and (node.op_type == "Split" or len(node.output) == 1)


def merge_grids(graph: EditableGraph) -> None:
    """Leaves one node of several that put the same value on the same grid, one after the other or side by side."""
    for node in graph.of(GRID):
        if grid_of(graph, node.input[0]) == node_grid(graph, node):
            graph.replace(node, node.input[0])
    for node in graph.of(GRID):
        for twin in graph.readers(node.input[0]) if graph.holds(node) else []:
            is_same = twin is not node and twin.op_type == GRID and node_grid(graph, twin) == node_grid(graph, node)
            if is_same and not graph.is_pinned(twin.output[0]):
                graph.replace(twin, node.output[0])


def drop_saturating_activations(graph: EditableGraph) -> None:
    """Takes out a ReLU or Clip whose bounds the grid behind it has too: rounding to the grid cuts off the same values.

    Left in, ONNX Runtime merges some of them with a float Gemm before it looks for integer kernels.
    """
    for node in graph.of("Relu", "Clip"):
        reader = graph.only_reader(node.output[0])
        if reader is None or reader.op_type != GRID:
            continue
        bounds = [0.0, np.inf] if node.op_type == "Relu" else [graph.number(name) for name in node.input[1:]]
        if len(bounds) == 2 and None not in bounds:
            grid = node_grid(graph, reader)
            low, high = (np.rint(np.float32(bound) / np.float32(grid.scale)) + grid.zero_point for bound in bounds)
            if low <= 0 and high >= 2**grid.bits - 1:
                graph.replace(node, node.input[0])


def lower_grids(graph: EditableGraph) -> None:
    """Writes grids of 8 bits as a QuantizeLinear and a DequantizeLinear, the others as the plain operations that they were.

    Operations that only move values stand between the two and move integers: cheaper than floats, and no runtime has to find out.
    """
    for node in graph.of(GRID):
        grid, name, value, output = node_grid(graph, node), site_of(node), node.input[0], node.output[0]
        written = written_grid(graph, node)
        graph.remove(node)
        scale = graph.constant(np.float32(grid.scale), f"{name}:scale")
        if grid.bits != 8:
            _write_plain(graph, value, output, scale, grid)
            continue
        zero_point = graph.constant(np.uint8(grid.zero_point), f"{name}:zero_point")
        labels = [scale, zero_point]
        if written != grid:
            labels = [graph.constant(np.float32(written.scale), f"{name}:written:scale")]
            labels.append(graph.constant(np.uint8(written.zero_point), f"{name}:written:zero_point"))
        integers = graph.add("QuantizeLinear", [value, *labels], f"{output}{INTEGERS}", f"{name}:quantize")
        if _is_merged_into_sum(graph, value, output):
            again = graph.add("DequantizeLinear", [integers, scale, zero_point], "", f"{name}:again")
            integers = graph.add("QuantizeLinear", [again, scale, zero_point], f"{output}{INTEGERS}{AGAIN}", f"{name}:quantize{AGAIN}")
        _dequantize(graph, integers, output, [scale, zero_point], name)


def _is_merged_into_sum(graph: EditableGraph, value: str, output: str) -> bool:
    """Whether OpenVINO would merge the addition that alone reads a grid into the convolution before it, and leave the grid out.

    Of two equal grids one after the other it leaves out one and keeps the other, at no cost; ONNX Runtime makes one of them.
    """
    producer = graph.producer(value)
    reader = graph.only_reader(output)
    return producer is not None and producer.op_type == "Conv" and reader is not None and reader.op_type == "Add"


def _dequantize(graph: EditableGraph, integers: str, output: str, grid: list[str], name: str) -> None:
    """Gives ``output``, and what is moved out of it, to their readers as integers followed by a DequantizeLinear."""
    for reader in graph.readers(output):
        if is_transparent(graph, reader) and reader.input[0] == output and output not in list(reader.input)[1:]:
            graph.set_input(reader, 0, integers)
            if reader.op_type == "Pad" and len(reader.input) > 2 and reader.input[2]:
                graph.set_input(reader, 2, grid[1])
            for moved in list(reader.output):
                graph.rename_output(reader, moved, renamed := graph.fresh(f"{moved}{INTEGERS}"))
                _dequantize(graph, renamed, moved, grid, name)
    if graph.readers(output) or graph.is_pinned(output):
        graph.add("DequantizeLinear", [integers, *grid], output, f"{name}:dequantize")


def _write_plain(graph: EditableGraph, value: str, output: str, scale: str, grid: Grid) -> None:
    numbers = (grid.zero_point, 0, 2**grid.bits - 1)
    zero_point, low, high = (graph.constant(np.float32(number), f"{output}:{number}") for number in numbers)
    rounded = graph.add("Round", [graph.add("Div", [value, scale])])
    clipped = graph.add("Clip", [graph.add("Add", [rounded, zero_point]), low, high])
    graph.add("Mul", [graph.add("Sub", [clipped, zero_point]), scale], output)
