"""Halves the weights of an ONNX model, so that processors without int8 dot products compute it rightly."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...util.extras import import_extra
from ..saturation import halved, may_saturate

__all__ = ["halve_weights", "has_wide_weights"]


def has_wide_weights(model: Any) -> bool:
    """Whether products with the model's int8 weights may saturate in 16 bits."""
    return may_saturate(array for _, array in _weights(model))


def halve_weights(model: Any) -> Any:
    """A copy with half the integers in every int8 weight; the same of the int8 model and of the simulated one are one model again."""
    onnx = import_extra("onnx", "onnx")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for item, array in _weights(copy):
        item.CopyFrom(onnx.numpy_helper.from_array(halved(array), item.name))
    return copy


def _weights(model: Any) -> list[tuple[Any, np.ndarray]]:
    """The int8 tensors that are stored, as initializers or constants; activations lie on uint8 grids, zero points of weights are zero."""
    onnx = import_extra("onnx", "onnx")
    constants = [item.t for node in model.graph.node if node.op_type == "Constant" for item in node.attribute if item.name == "value"]
    stored = [item for item in (*model.graph.initializer, *constants) if item.data_type == onnx.TensorProto.INT8]
    return [(item, onnx.numpy_helper.to_array(item)) for item in stored]
