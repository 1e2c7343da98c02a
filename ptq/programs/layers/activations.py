"""Activations that have a layer in `paddle.nn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle import nn

from ..records import Operation, Recorded
from .built import Built, known

__all__ = ["LAYERS"]

# The class, and which attribute of the operator is which argument.
CLASSES: dict[str, tuple[type[nn.Layer], dict[str, str]]] = {
    "relu": (nn.ReLU, {}),
    "relu6": (nn.ReLU6, {}),
    "leaky_relu": (nn.LeakyReLU, {"negative_slope": "negative_slope"}),
    "hardswish": (nn.Hardswish, {}),
    "sigmoid": (nn.Sigmoid, {}),
    "swish": (nn.Swish, {}),
    "silu": (nn.Silu, {}),
    "gelu": (nn.GELU, {"approximate": "approximate"}),
    "tanh": (nn.Tanh, {}),
    "elu": (nn.ELU, {"alpha": "alpha"}),
    "celu": (nn.CELU, {"alpha": "alpha"}),
    "mish": (nn.Mish, {}),
    "softsign": (nn.Softsign, {}),
    "tanh_shrink": (nn.Tanhshrink, {}),
    "logsigmoid": (nn.LogSigmoid, {}),
    "softplus": (nn.Softplus, {"beta": "beta", "threshold": "threshold"}),
    "hardtanh": (nn.Hardtanh, {"t_min": "min", "t_max": "max"}),
    "softmax": (nn.Softmax, {"axis": "axis"}),
}
SLOPE, OFFSET = 1 / 6, 0.5  # of the hard sigmoid that is a layer


def _activation(operation: Operation, _recorded: Recorded) -> Built:
    kind, names = CLASSES[operation.name]
    arguments: dict[str, Any] = {argument: operation.attrs[name] for name, argument in names.items()}
    return Built(kind, arguments, (operation.operand("x"),))


def _hardsigmoid(operation: Operation, _recorded: Recorded) -> Built | None:
    same = abs(operation.attrs["slope"] - SLOPE) < 1e-6 and operation.attrs["offset"] == OFFSET
    return Built(nn.Hardsigmoid, {}, (operation.operand("x"),)) if same else None


def _prelu(operation: Operation, recorded: Recorded) -> Built | None:
    weights = known(recorded, {"_weight": operation.inputs["alpha"]})
    if weights is None or operation.attrs["mode"] not in ("all", "channel") or len(recorded.shapes[weights["_weight"]]) != 1:
        return None
    arguments = {"num_parameters": recorded.shapes[weights["_weight"]][0], "data_format": operation.attrs["data_format"]}
    return Built(nn.PReLU, arguments, (operation.operand("x"),), weights)


LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {
    **dict.fromkeys(CLASSES, _activation),
    "hardsigmoid": _hardsigmoid,
    "prelu": _prelu,
}
