"""Batch, layer, group and instance norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from paddle import nn

from ..records import Operation, Recorded
from .built import Built, known, zeros

__all__ = ["LAYERS"]

BATCH_NORMS: dict[int, tuple[type[nn.Layer], dict[str, str]]] = {
    2: (nn.BatchNorm1D, {"NCHW": "NCL", "NHWC": "NLC"}),
    3: (nn.BatchNorm1D, {"NCHW": "NCL", "NHWC": "NLC"}),
    4: (nn.BatchNorm2D, {}),
    5: (nn.BatchNorm3D, {"NCHW": "NCDHW", "NHWC": "NDHWC"}),
}
INSTANCE_NORMS = {3: nn.InstanceNorm1D, 4: nn.InstanceNorm2D, 5: nn.InstanceNorm3D}


def _batch_norm(operation: Operation, recorded: Recorded) -> Built | None:
    inputs = operation.inputs
    weights = known(recorded, {"weight": inputs["scale"], "bias": inputs["bias"], "_mean": inputs["mean"], "_variance": inputs["variance"]})
    axes = len(recorded.shapes[operation.operand("x")])
    if weights is None or len(weights) < 4 or axes not in BATCH_NORMS or not operation.attrs["is_test"]:
        return None
    kind, layouts = BATCH_NORMS[axes]
    layout = operation.attrs["data_format"]
    arguments = {
        "num_features": recorded.shapes[weights["weight"]][0],
        "momentum": operation.attrs["momentum"],
        "epsilon": operation.attrs["epsilon"],
        "data_format": layouts.get(layout, layout),
        "weight_attr": zeros(),
        "bias_attr": zeros(),
    }
    return Built(kind, arguments, (operation.operand("x"),), weights)


def _layer_norm(operation: Operation, recorded: Recorded) -> Built | None:
    weights = known(recorded, {"weight": operation.inputs["scale"], "bias": operation.inputs["bias"]})
    shape = recorded.shapes[operation.operand("x")][int(operation.attrs["begin_norm_axis"]) :]
    if weights is None or min(shape, default=-1) < 1:
        return None
    if any(math.prod(recorded.shapes[value]) != math.prod(shape) for value in weights.values()):
        return None
    arguments = {
        "normalized_shape": list(shape),
        "epsilon": operation.attrs["epsilon"],
        **_attributes(weights, "weight"),
    }
    return Built(nn.LayerNorm, arguments, (operation.operand("x"),), weights)


def _group_norm(operation: Operation, recorded: Recorded) -> Built | None:
    weights = known(recorded, {"weight": operation.inputs["scale"], "bias": operation.inputs["bias"]})
    layout = operation.attrs["data_format"]
    shape = recorded.shapes[operation.operand("x")]
    if weights is None or len(weights) < 2 or layout not in ("NCHW", "NHWC") or len(shape) != 4:
        return None
    arguments = {
        "num_groups": int(operation.attrs["groups"]),
        "num_channels": shape[1 if layout == "NCHW" else 3],
        "epsilon": operation.attrs["epsilon"],
        "data_format": layout,
        **_attributes(weights, "weight"),
    }
    return Built(nn.GroupNorm, arguments, (operation.operand("x"),), weights) if arguments["num_channels"] > 0 else None


def _instance_norm(operation: Operation, recorded: Recorded) -> Built | None:
    weights = known(recorded, {"scale": operation.inputs["scale"], "bias": operation.inputs["bias"]})
    axes = len(recorded.shapes[operation.operand("x")])
    if weights is None or len(weights) < 2 or axes not in INSTANCE_NORMS:
        return None
    arguments = {
        "num_features": recorded.shapes[weights["scale"]][0],
        "epsilon": operation.attrs["epsilon"],
        **_attributes(weights, "scale"),
    }
    return Built(INSTANCE_NORMS[axes], arguments, (operation.operand("x"),), weights)


def _attributes(weights: dict[str, int], scale: str) -> dict[str, Any]:
    return {"weight_attr": zeros(scale in weights), "bias_attr": zeros("bias" in weights)}


LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
