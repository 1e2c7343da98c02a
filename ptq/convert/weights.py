"""Float weights to integers: one step of its own, so that other ways of rounding can take the place of the nearest integer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers import BaseQuantizer, QParams
from quantizers.errors import ConfigError

from ..calibration.state import LayerState
from ..layers import IntegerWeight
from ..layers.base import by_channel
from ..registry import PTQRegistry

__all__ = ["Rounding", "WeightTask", "grids_by_rule", "integer_weights", "round_to_nearest"]


@dataclass(frozen=True)
class WeightTask:
    """One weight to be rounded.

    Attributes:
        layer_name, name: the layer's name in the model, and the parameter's in the layer.
        layer: the float layer, which must not be changed.
        weight: float32, in the layer's layout.
        qparams: the grid that the layer's rule gives.
    """

    layer_name: str
    name: str
    layer: nn.Layer
    weight: npt.NDArray[Any]
    qparams: QParams


Rounding = Callable[[WeightTask], IntegerWeight]
"""Makes integers of a float weight, on the task's grid or on one of its own."""


def round_to_nearest(task: WeightTask) -> IntegerWeight:
    """Every element by itself, halves to even."""
    return IntegerWeight.nearest(task.weight, task.qparams)


def integer_weights(
    layer: nn.Layer, own: LayerState, rounding: Rounding, ratios: npt.NDArray[np.float32] | None = None
) -> tuple[IntegerWeight, ...]:
    """The weights of one layer, in the order of `LayerInfo.weights_of`; the rule's thresholds are left in ``own.wt_quantizer``.

    With ``ratios`` ``[C]`` they are multiplied by that of the channel that they read.

    Raises:
        ConfigError: the rule gives another number of grids than there are weights, or ``rounding`` returns another weight's integers.
        NonFiniteError: a weight holds NaN or Inf.
    """
    parameters = PTQRegistry.layer_info(layer).weights_of(layer)
    if ratios is not None:
        parameters = {
            name: weight * paddle.to_tensor(by_channel(layer, ratios)).astype(weight.dtype) for name, weight in parameters.items()
        }
    own.wt_quantizer.reset()
    own.wt_quantizer.sample_data(layer, tuple(parameters.values()))
    own.wt_quantizer.cal_thresholds()
    grids = grids_by_rule(own.wt_quantizer, len(parameters))
    found = []
    for (name, parameter), grid in zip(parameters.items(), grids, strict=True):
        task = WeightTask(own.name, name, layer, parameter.astype("float32").numpy(), grid)
        weight = rounding(task)
        if not isinstance(weight, IntegerWeight) or weight.integers.shape != task.weight.shape:
            raise ConfigError(
                f"layer '{own.name}': the rounding of '{name}' must return an IntegerWeight of shape {list(task.weight.shape)}, "
                f"got {weight!r:.200}"
            )
        found.append(weight)
    return tuple(found)


def grids_by_rule(quantizer: BaseQuantizer, tensors: int) -> list[QParams]:
    """The grids that a quantizer gives, one for each of so many tensors; raises ``ConfigError`` for another number."""
    if len(quantizer.qparams) != tensors:
        count = "one tensor" if tensors == 1 else f"{tensors} tensors"
        raise ConfigError(
            f"{type(quantizer).__name__} has {len(quantizer.qparams)} thresholds for {count}; cal_thresholds must set one per tensor"
        )
    return quantizer.qparams
