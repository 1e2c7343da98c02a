"""Layers whose input has a grid of its own in every call: the plain operations of `ptq.layers.dynamic` become integer kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import EditableGraph
from .weights import name_of_layer

__all__ = ["write_dynamic_layers"]

FLOAT, DOUBLE = 1, 11
KEPT = ("pads", "strides", "dilations", "group", "auto_pad", "kernel_shape")


@dataclass(frozen=True)
class DynamicInput:
    """What is rounded in every call: the value, its scale, and whether each row has one."""

    value: str
    scale: str
    by_row: bool


def write_dynamic_layers(graph: EditableGraph) -> None:
    """Turns products and convolutions of stored int8 with integers that are computed from an input into integer operations.

    Products and convolutions of single pixels become MatMulInteger, other dense convolutions ConvInteger with unsigned weights around 128:
    with signed ones ONNX Runtime takes three times as long as in float.  Layers that read the same input share its integers.
    """
    written: dict[tuple[str, bool], tuple[str, str, str]] = {}
    for node in graph.of("MatMul", "Conv"):
        weight, found = _weight(graph, node), _dynamic_input(graph, node.input[0])
        if weight is None or found is None or (node.op_type == "Conv" and (found.by_row or len(node.input) > 2)):
            continue
        key = found.value, found.by_row
        if key not in written:
            written[key] = _write_row(graph, found) if found.by_row else _write_tensor(graph, found)
        integers, scale, zero_point = written[key]
        if found.scale != scale:
            graph.redirect(found.scale, scale)
        if _is_pointwise(graph, node):
            _write_pointwise(graph, node, weight, integers, scale, zero_point)
        else:
            _write(graph, node, weight, integers, zero_point)
    graph.prune()


def _weight(graph: EditableGraph, node: Any) -> str | None:
    """The stored int8 weight that a node reads as plain numbers."""
    cast = graph.producer(node.input[1])
    stored = None if cast is None or cast.op_type != "Cast" else graph.constants.get(cast.input[0])
    if cast is None or stored is None or stored.dtype != np.int8 or stored.ndim < 2 or graph.attribute(cast, "to") not in (FLOAT, DOUBLE):
        return None
    return str(cast.input[0])


def _dynamic_input(graph: EditableGraph, value: str) -> DynamicInput | None:
    node = graph.producer(value)
    if node is not None and node.op_type == "Cast":
        node = graph.producer(node.input[0])
    if node is None:
        return None
    if node.op_type == "Round":
        return _rounded(graph, node, by_row=True)
    # clip(round(x / scale) + zero_point, 0, 255) - zero_point
    clip = graph.producer(node.input[0]) if node.op_type == "Sub" else None
    add = graph.producer(clip.input[0]) if clip is not None and clip.op_type == "Clip" else None
    if clip is None or add is None or add.op_type != "Add" or add.input[1] != node.input[1]:
        return None
    rounded = graph.producer(add.input[0])
    if [graph.number(bound) for bound in clip.input[1:]] != [0, 255] or rounded is None or rounded.op_type != "Round":
        return None
    return _rounded(graph, rounded, by_row=False)


def _rounded(graph: EditableGraph, node: Any, by_row: bool) -> DynamicInput | None:
    divide = graph.producer(node.input[0])
    if divide is None or divide.op_type != "Div":
        return None
    value, scale = divide.input
    kinds = _between(graph, scale, value)
    wanted = {"Abs", "ReduceMax"} if by_row else {"ReduceMin", "ReduceMax"}
    return DynamicInput(value, scale, by_row) if kinds is not None and wanted <= kinds and by_row == ("Abs" in kinds) else None


def _between(graph: EditableGraph, value: str, source: str) -> set[str] | None:
    """Types of the operations that compute ``value`` from ``source`` and constants; ``None`` where something else has a part in it."""
    kinds: set[str] = set()
    pending, seen = [value], set()
    while pending:
        name = pending.pop()
        if name in (source, "") or name in graph.constants or name in seen:
            continue
        seen.add(name)
        node = graph.producer(name)
        if node is None or len(seen) > 40:
            return None
        kinds.add(node.op_type)
        pending.extend(node.input)
    return kinds


def _write_tensor(graph: EditableGraph, found: DynamicInput) -> tuple[str, str, str]:
    """Names of the integers, their scale and their zero point."""
    name = f"{found.value}:dynamic"
    integers, scale, zero_point = (graph.fresh(f"{name}:{part}") for part in ("integers", "scale", "zero_point"))
    graph.add("DynamicQuantizeLinear", [found.value], integers, f"{name}:quantize", more_outputs=(scale, zero_point))
    return integers, scale, zero_point


def _write_row(graph: EditableGraph, found: DynamicInput) -> tuple[str, str, str]:
    """The same with the scale of each row, which stays as it is computed, and one zero point."""
    one, middle = graph.constant(np.float32(1), "one"), graph.constant(np.uint8(128), "row:zero_point")
    ratio = graph.add("Div", [found.value, found.scale], "", f"{found.value}:rows")
    return graph.add("QuantizeLinear", [ratio, one, middle], "", f"{found.value}:rows:quantize"), found.scale, middle


def _is_pointwise(graph: EditableGraph, node: Any) -> bool:
    """Whether a node is a dense convolution of pictures, of one pixel at a time."""
    if node.op_type != "Conv" or graph.attribute(node, "group", 1) != 1 or graph.attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
        return False
    weight = graph.shape(graph.producer(node.input[1]).input[0]) or ()  # type: ignore[union-attr]
    ones, zeros = (set(graph.attribute(node, name) or ()) for name in ("strides", "pads"))
    return len(weight) == 4 and weight[2:] == (1, 1) and ones <= {1} and zeros <= {0}


def _write_pointwise(graph: EditableGraph, node: Any, stored: str, integers: str, scale: str, zero_point: str) -> None:
    """A convolution of single pixels as a product, channels last: up to three times as fast as ConvInteger."""
    weight, path = graph.constants[stored], name_of_layer(stored) or node.name
    output = _without_casts(graph, node)
    matrix = graph.constant(np.ascontiguousarray(weight[:, :, 0, 0].T), f"{stored}:matrix")
    pixels = graph.add("Transpose", [integers], "", f"{path}:pixels", perm=[0, 2, 3, 1])
    sums = graph.add("Cast", [graph.add("MatMulInteger", [pixels, matrix, zero_point], "", path)], "", f"{path}:sums", to=FLOAT)
    scaled, factors = _scaling(graph, output, scale)
    if scaled is not None and factors is not None:  # before the channels move back, where the runtime merges it with the product
        by_channel = graph.add("Mul", [scale, graph.constant(factors.ravel(), f"{stored}:scale")])
        sums, output = graph.add("Mul", [sums, by_channel]), scaled.output[0]
        graph.remove(scaled)
    graph.add("Transpose", [sums], output, f"{path}:channels", perm=[0, 3, 1, 2])


def _scaling(graph: EditableGraph, sums: str, scale: str) -> tuple[Any | None, np.ndarray | None]:
    """The node that multiplies sums with the scales of input and weight, and the latter, ``[1, C, 1, 1]``."""
    node = graph.only_reader(sums)
    product = None if node is None or node.op_type != "Mul" else graph.producer(node.input[1])
    if product is None or product.op_type != "Mul" or product.input[0] != scale:
        return None, None
    factors = graph.constants.get(product.input[1])
    return (node, factors) if factors is not None and factors.shape == (1, factors.size, 1, 1) else (None, None)


def _without_casts(graph: EditableGraph, node: Any) -> str:
    """Takes out a node with the casts behind it, from float64, in which long sums are exact; the name of the last result."""
    removed, output = [node], node.output[0]
    reader = graph.only_reader(output)
    while reader is not None and reader.op_type == "Cast":
        removed.append(reader)
        output = reader.output[0]
        reader = graph.only_reader(output)
    for old in removed:
        graph.remove(old)
    return str(output)


def _write(graph: EditableGraph, node: Any, stored: str, integers: str, zero_point: str) -> None:
    """The integer operation in the place of a float one, and its sums as float32."""
    weight, path = graph.constants[stored], name_of_layer(stored) or node.name
    output = _without_casts(graph, node)
    if node.op_type == "MatMul":
        sums = graph.add("MatMulInteger", [integers, stored, zero_point], "", path)
    else:
        unsigned = graph.constant((weight.astype(np.int16) + 128).astype(np.uint8), f"{stored}:unsigned")
        inputs = [integers, unsigned, zero_point, graph.constant(np.uint8(128), "weight:zero_point")]
        facts = {name: value for name in KEPT if (value := graph.attribute(node, name)) is not None}
        sums = graph.add("ConvInteger", inputs, "", path, **facts)
    graph.add("Cast", [sums], output, f"{path}:sums", to=FLOAT)
