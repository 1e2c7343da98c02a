"""Grids that are written and read under different labels: constants beside a grid that cost nothing once they are part of it.

The integers of a tensor mean one thing to who writes them and may mean another to who reads them: read with another scale they are
multiplied, written with another zero point they are shifted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import GRID, EditableGraph
from .grids import Grid, grid_of, is_transparent, node_grid, site_of, written_grid

__all__ = ["use_labels"]

# How far from a whole number of steps a shift may be, in steps: scales are float32.
CLOSE = 1e-3
LARGEST = 255


def use_labels(graph: EditableGraph) -> None:
    """Takes additions of a number before a grid, and multiplications with one behind it, into the grid's labels.

    Numbers that are added to integers then become integers too, so that runtimes see an addition of integers.
    """
    for node in graph.of(GRID):
        value = node.output[0]
        if node_grid(graph, node).bits == 8 and not any(is_transparent(graph, reader) for reader in graph.readers(value)):
            _absorb_shift(graph, node)
            _absorb_factor(graph, graph.producer(value))
    for node in graph.of("Add"):
        _put_number_on_grid(graph, node)
    graph.prune()


def _absorb_shift(graph: EditableGraph, node: Any) -> None:
    """Additions of numbers in front of a grid on which their sum is a whole number of steps: a grid with another zero point.

    A tensor that comes from another grid may lie half-way between steps everywhere, and an odd shift would change where these go.
    """
    value, reader, total = node.input[0], node, 0.0
    while (add := graph.producer(value)) is not None and graph.only_reader(value) is reader:
        number, operand = _number_and_value(graph, add, "Add")
        if number is None:
            break
        value, reader, total = operand, add, total + number
    grid = node_grid(graph, node)
    steps = total / grid.scale
    zero_point = grid.zero_point + round(steps)
    if reader is not node and grid_of(graph, value) is None and abs(steps - round(steps)) <= CLOSE and 0 <= zero_point <= LARGEST:
        _relabel(graph, node, value, written=Grid(grid.scale, zero_point), read=grid)


def _absorb_factor(graph: EditableGraph, node: Any) -> None:
    """A product with a positive number as all that reads a grid: its integers are read with another scale."""
    product = graph.only_reader(node.output[0])
    number, _ = _number_and_value(graph, product, "Mul")
    if number is None or number <= 0 or product is None or graph.is_pinned(product.output[0]):
        return
    grid = node_grid(graph, node)
    output = product.output[0]
    graph.remove(product)
    read = Grid(float(np.float32(grid.scale) * np.float32(number)), grid.zero_point)
    _relabel(graph, node, node.input[0], written=written_grid(graph, node), read=read, output=output)


def _relabel(graph: EditableGraph, node: Any, value: str, written: Grid, read: Grid, output: str = "") -> None:
    name, output = node.name, output or node.output[0]
    graph.remove(node)
    labels: dict[str, Any] = {"read_scale": read.scale, "read_zero_point": read.zero_point}
    graph.add(GRID, [value], output, name, scale=written.scale, zero_point=written.zero_point, bits=8, **labels)


def _number_and_value(graph: EditableGraph, node: Any, op_type: str) -> tuple[float | None, str]:
    """The number and the tensor that a node of that type combines; ``None`` for the number where it does not."""
    if node is None or node.op_type != op_type:
        return None, ""
    for number, value in (tuple(node.input), tuple(node.input)[::-1]):
        array = graph.constants.get(number)
        if array is not None and array.size == 1 and array.dtype == np.float32 and value not in graph.constants:
            return float(array.item()), value
    return None, ""


def _put_number_on_grid(graph: EditableGraph, node: Any) -> None:
    """A number that is added to integers, for a result that is on a grid, is one step of a grid of its own."""
    number, value = _number_and_value(graph, node, "Add")
    reader = graph.only_reader(node.output[0])
    if not number or reader is None or reader.op_type != GRID or node_grid(graph, reader).bits != 8:
        return
    if (grid := grid_of(graph, value)) is None or grid.bits != 8:
        return
    name = f"{site_of(reader)}:number"
    inputs = [
        graph.constant(np.uint8(LARGEST if number > 0 else 0), name),
        graph.constant(np.float32(abs(number) / LARGEST), f"{name}:scale"),
        graph.constant(np.uint8(0 if number > 0 else LARGEST), f"{name}:zero_point"),
    ]
    on_grid = graph.add("DequantizeLinear", inputs, "", f"{name}:dequantize")
    graph.set_input(node, 1 if node.input[0] == value else 0, on_grid)
