"""Pools over two and three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle import nn

from ..records import Operation, Recorded
from .built import Built

__all__ = ["LAYERS"]

LAYER_CLASSES: dict[tuple[int, str, bool], type[nn.Layer]] = {
    (2, "avg", False): nn.AvgPool2D,
    (2, "max", False): nn.MaxPool2D,
    (2, "avg", True): nn.AdaptiveAvgPool2D,
    (3, "avg", False): nn.AvgPool3D,
    (3, "max", False): nn.MaxPool3D,
    (3, "avg", True): nn.AdaptiveAvgPool3D,
}


def _pool(operation: Operation, recorded: Recorded, axes: int) -> Built | None:
    attrs, size = operation.attrs, _kernel(operation, recorded)
    whole = bool(attrs["global_pooling"])
    adaptive = bool(attrs["adaptive"]) or (whole and attrs["pooling_type"] == "avg")
    kind = LAYER_CLASSES.get((axes, attrs["pooling_type"], adaptive))
    if kind is None or (size is None and not whole) or (whole and not adaptive):
        return None
    layout = "NCHW" if attrs["data_format"] == "AnyLayout" else attrs["data_format"]
    if adaptive:
        output = [1] * axes if whole else size
        return Built(kind, {"output_size": output, "data_format": layout}, (operation.operand("x"),))
    algorithm = attrs["padding_algorithm"]
    arguments: dict[str, Any] = {
        "kernel_size": size,
        "stride": list(attrs["strides"]),
        "padding": algorithm if algorithm in ("SAME", "VALID") else list(attrs["paddings"]),
        "ceil_mode": bool(attrs["ceil_mode"]),
        "data_format": layout,
    }
    if attrs["pooling_type"] == "avg":
        arguments["exclusive"] = bool(attrs["exclusive"])
    elif layout not in ("NCHW", "NCDHW"):
        return None
    return Built(kind, arguments, (operation.operand("x"),))


def _kernel(operation: Operation, recorded: Recorded) -> list[int] | None:
    size = operation.inputs.get("kernel_size", operation.attrs.get("kernel_size"))
    if isinstance(size, int):
        constant = recorded.constants.get(size)
        return None if constant is None else [int(number) for number in constant.data.reshape([-1]).tolist()]
    return None if isinstance(size, tuple) else size


LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {
    "pool2d": lambda operation, recorded: _pool(operation, recorded, 2),
    "pool3d": lambda operation, recorded: _pool(operation, recorded, 3),
}
