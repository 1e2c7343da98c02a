"""Convolutions in one to three dimensions, plain, depthwise and transposed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle import nn

from ..records import Operation, Recorded
from .built import Built, known, zeros

__all__ = ["LAYERS"]

FORMATS = {1: {"NCHW": "NCL", "NHWC": "NLC"}, 3: {"NCHW": "NCDHW", "NHWC": "NDHWC"}}


def _convolution(operation: Operation, recorded: Recorded, kind: type[nn.Layer], axes: int) -> Built | None:
    weights = known(recorded, {"weight": operation.inputs["filter"], "bias": operation.inputs.get("bias")})
    if weights is None:
        return None
    shape, groups = recorded.shapes[weights["weight"]], int(operation.attrs["groups"])
    arguments = {**_arguments(operation, axes), "in_channels": shape[1] * groups, "out_channels": shape[0], "kernel_size": list(shape[2:])}
    arguments["bias_attr"] = zeros("bias" in weights)
    return Built(kind, arguments, (operation.operand("input"),), weights)


def _transposed(operation: Operation, recorded: Recorded, kind: type[nn.Layer], axes: int) -> Built | None:
    weights = known(recorded, {"weight": operation.inputs["filter"], "bias": operation.inputs.get("bias")})
    size = _output_size(operation, recorded)
    if weights is None or size is None:
        return None
    shape, groups = recorded.shapes[weights["weight"]], int(operation.attrs["groups"])
    arguments = {**_arguments(operation, axes), "in_channels": shape[0], "out_channels": shape[1] * groups, "kernel_size": list(shape[2:])}
    arguments["bias_attr"] = zeros("bias" in weights)
    padding: Any = operation.attrs.get("output_padding") or 0
    arguments["output_padding"] = padding[0] if axes == 1 and padding else padding
    return Built(kind, arguments, (operation.operand("x"),), weights, Sized(size) if size else None)


class Sized:
    """Calls a transposed convolution with the size of its result."""

    def __init__(self, size: list[int]) -> None:
        self.size = size

    def __call__(self, layer: nn.Layer, x: Any) -> Any:
        return layer(x, output_size=self.size)


def _output_size(operation: Operation, recorded: Recorded) -> list[int] | None:
    """The size of the result; empty where it follows from the input, ``None`` where it is computed."""
    operand = operation.inputs.get("output_size", operation.attrs.get("output_size"))
    if isinstance(operand, int):
        constant = recorded.constants.get(operand)
        return None if constant is None else [int(size) for size in constant.data.reshape([-1]).tolist()]
    return None if isinstance(operand, tuple) else list(operand or [])


def _arguments(operation: Operation, axes: int) -> dict[str, Any]:
    attrs = operation.attrs
    algorithm, layout = attrs["padding_algorithm"], attrs["data_format"]
    paddings = list(attrs["paddings"])
    layout = FORMATS.get(axes, {}).get(layout, "NCHW" if layout == "AnyLayout" else layout)
    return {
        "stride": list(attrs["strides"]),
        "padding": algorithm if algorithm in ("SAME", "VALID") else paddings,
        "dilation": list(attrs["dilations"]),
        "groups": int(attrs["groups"]),
        "data_format": layout,
        "weight_attr": zeros(),
    }


def _of(make: Any, kind: type[nn.Layer], axes: int) -> Callable[[Operation, Recorded], Built | None]:
    return lambda operation, recorded: make(operation, recorded, kind, axes)


LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {
    "conv1d": _of(_convolution, nn.Conv1D, 1),
    "conv2d": _of(_convolution, nn.Conv2D, 2),
    "depthwise_conv2d": _of(_convolution, nn.Conv2D, 2),
    "conv3d": _of(_convolution, nn.Conv3D, 3),
    "conv1d_transpose": _of(_transposed, nn.Conv1DTranspose, 1),
    "conv2d_transpose": _of(_transposed, nn.Conv2DTranspose, 2),
    "depthwise_conv2d_transpose": _of(_transposed, nn.Conv2DTranspose, 2),
    "conv3d_transpose": _of(_transposed, nn.Conv3DTranspose, 3),
}
