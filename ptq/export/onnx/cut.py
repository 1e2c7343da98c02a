"""Holds an int8 ONNX model against the simulated one, layer by layer.

A rounding that flips in one layer changes all that follow, so only layers that are fed alike can be compared.  The runtime executes the
whole int8 model and hands out the integers of every grid; the simulated model, cut at its grids, is fed these and computes one layer each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...util.extras import import_extra
from .grids import INTEGERS

__all__ = ["Place", "cut", "expose", "feeding", "places_of"]

GIVEN = ":given"


@dataclass(frozen=True)
class Place:
    """One grid: what it is called, its value in the simulated model, its integers in the int8 model, scale and zero point to read them."""

    name: str
    value: str
    integers: str
    scale: float
    zero_point: int

    def real(self, integers: np.ndarray) -> np.ndarray:
        """Integers as the values that the simulated model has for them."""
        return (integers.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)

    def steps(self, real: np.ndarray) -> np.ndarray:
        """Values of the simulated model as integers."""
        return np.rint(real / np.float32(self.scale)).astype(np.int32) + self.zero_point


def places_of(model: Any, simulated: Any) -> list[Place]:
    """The grids that an int8 model has in common with the simulated model, in the order of the graph."""
    to_array = import_extra("onnx", "onnx").numpy_helper.to_array
    numbers = {item.name: to_array(item).item() for item in model.graph.initializer if not item.dims}
    computed = {name for node in simulated.graph.node for name in node.output}
    read = {node.input[0]: node.input[1:3] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return [
        Place(node.name.removesuffix(":quantize"), value, node.output[0], *(numbers[n] for n in read.get(node.output[0], node.input[1:3])))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and (value := node.output[0].removesuffix(INTEGERS)) in computed
    ]


def expose(model: Any, values: Iterable[str]) -> Any:
    """A copy of a model that also answers with inner values."""
    onnx = import_extra("onnx", "onnx")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    outputs = {item.name for item in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values if name not in outputs)
    return copy


def cut(simulated: Any, given: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    """A copy of the simulated model that answers with these values, but computes on with those given; and its inputs for that."""
    onnx = import_extra("onnx", "onnx")
    copy = expose(simulated, given)
    for node in copy.graph.node:
        node.input[:] = [name + GIVEN if name in given else name for name in node.input]
    make = onnx.helper.make_tensor_value_info
    copy.graph.input.extend(make(name + GIVEN, onnx.TensorProto.FLOAT, array.shape) for name, array in given.items())
    return copy, {name + GIVEN: array for name, array in given.items()}


def feeding(simulated: Any, place: Place, places: Iterable[Place]) -> list[Place]:
    """The places whose values the cut model computes this one of."""
    known = {each.value: each for each in places}
    producers = {name: node for node in simulated.graph.node for name in node.output}
    found: dict[str, Place] = {}
    pending, seen = list(producers[place.value].input), set()
    while pending:
        name = pending.pop()
        if name in known:
            found[name] = known[name]
        elif name in producers and name not in seen:
            seen.add(name)
            pending += producers[name].input
    return list(found.values())
