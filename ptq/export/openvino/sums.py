"""Lets OpenVINO compute residual additions in one with the convolution before them, as it does where a FakeQuantize stands between.

Its plugin takes an addition for a part of an int8 convolution only behind a FakeQuantize, and then leaves that out.  So one of more levels
than any integer kernel has is put there: left out it changes nothing, and where it is computed it rounds finer than the grid that follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...util.extras import import_extra
from ..onnx.grids import AGAIN

__all__ = ["LEVELS", "mark_sums"]

# Finer than 8 bits by far, and no number of levels that OpenVINO computes with.
LEVELS = 60000
# How far beyond the range of the sum an operand may lie.
MARGIN = 64.0
CONVOLUTIONS = ("Convolution", "GroupConvolution")


def mark_sums(model: Any) -> int:
    """Puts a FakeQuantize between convolutions and the additions that alone read them, in place; returns how many."""
    opset = import_extra("openvino.opset13", "openvino")
    ranges, data, count = _ranges(model), _activations(model), 0
    for add in model.get_ordered_ops():
        sources = [port.get_source_output() for port in add.inputs()]
        if add.get_type_name() != "Add" or any(source.get_node().get_friendly_name() not in data for source in sources):
            continue
        span = ranges.get(_grid_after(add))
        port = next((port for port in add.inputs() if _is_convolution(port.get_source_output(), data)), None)
        if span is not None and port is not None:
            bounds = [opset.constant(np.float32(sign * MARGIN * span)) for sign in (-1, 1, -1, 1)]
            port.replace_source_output(opset.fake_quantize(port.get_source_output(), *bounds, LEVELS).output(0))
            for other in add.inputs():
                _undouble(other)
            count += 1
    return count


def _undouble(port: Any) -> None:
    """Leaves out the second of two equal grids before the other operand: only a grid of what the addition is computed with needs it."""
    node, is_second = port.get_source_output().get_node(), False
    while node.get_type_name() in ("Multiply", "Subtract", "Convert"):
        is_second = is_second or node.get_friendly_name().endswith(f":quantize{AGAIN}")
        node = node.input_value(0).get_node()
    if node.get_type_name() == "FakeQuantize" and is_second:
        port.replace_source_output(node.input_value(0))


def _activations(model: Any) -> set[str]:
    """Names of the operations that compute something of the model's inputs, not of their shapes."""
    found: set[str] = set()
    for node in model.get_ordered_ops():
        sources = (port.get_source_output().get_node().get_friendly_name() for port in node.inputs())
        if node.get_type_name() == "Parameter" or (node.get_type_name() != "ShapeOf" and any(name in found for name in sources)):
            found.add(node.get_friendly_name())
    return found


def _ranges(model: Any) -> Mapping[str, float]:
    """How wide each grid is, by the name of its operation."""
    passes = import_extra("openvino.passes", "openvino")
    folded, manager = model.clone(), passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(folded)
    found = {}
    for node in folded.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            bounds = [node.input_value(index).get_node() for index in (1, 2)]
            if all(bound.get_type_name() == "Constant" for bound in bounds):
                found[node.get_friendly_name()] = float(bounds[1].data.max() - bounds[0].data.min())
    return found


def _readers(output: Any) -> list[Any]:
    """The operations that read a value, and not its shape alone."""
    readers = (port.get_node() for port in output.get_target_inputs())
    return [reader for reader in readers if reader.get_type_name() != "ShapeOf"]


def _grid_after(node: Any) -> str:
    """The name of the grid that a node's result goes to, directly or through a ReLU; empty where there is none."""
    readers = _readers(node.output(0))
    if len(readers) != 1:
        return ""
    if readers[0].get_type_name() == "FakeQuantize":
        return str(readers[0].get_friendly_name())
    return _grid_after(readers[0]) if readers[0].get_type_name() in ("Relu", "Clamp") else ""


def _is_convolution(output: Any, data: set[str]) -> bool:
    """Whether a convolution, its bias included, computes a value for one reader."""
    node = output.get_node()
    if len(_readers(output)) != 1:
        return False
    if node.get_type_name() == "Add":  # of a bias
        sources = [port.get_source_output() for port in node.inputs()]
        computed = [source for source in sources if source.get_node().get_friendly_name() in data and not _is_stored(source)]
        return len(computed) == 1 and _is_convolution(computed[0], data)
    return node.get_type_name() in CONVOLUTIONS


def _is_stored(output: Any) -> bool:
    """Whether a value holds constants, maybe in a shape that depends on the model's inputs."""
    node = output.get_node()
    if node.get_type_name() in ("Broadcast", "Reshape"):
        return _is_stored(node.input_value(0))
    return node.get_type_name() in ("Constant", "Multiply", "Convert", "Subtract") and all(
        _is_stored(port.get_source_output()) for port in node.inputs()
    )
