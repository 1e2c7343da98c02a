"""What a layer in training is now: its float layer, its integers, and the twin of both, by the arithmetic that conversion uses."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import paddle
from paddle import nn

from ..layers import IntegerWeight
from ..passes.fold_batch_norm import fold_batch_norm
from ..registry import PTQRegistry
from .scales import multiply_channels, norm_factor

__all__ = ["as_float_layer", "final_layer", "final_twin"]


def as_float_layer(layer: Any) -> nn.Layer:
    """The float layer with the parameters as they are now, its batch norm left out."""
    kind: Any = layer.float_class
    made: nn.Layer = kind.__new__(kind)
    state = made.__dict__
    state.update({name: copy.copy(value) if isinstance(value, (dict, set, list)) else value for name, value in vars(layer).items()})
    state["_original_funcs"] = OrderedDict()
    for name in ("folds", "preprocess_input", "preprocess_weight", "read_grids"):
        del state[name]
    own = ("input_grid", "weight_grids", "input_preprocess", "weight_preprocess", *(["norm"] if state.pop("owns_norm") else []))
    for name in own:
        state["_sub_layers"].pop(name, None)
    if "operator_weights" in state:
        state["_all_weights"] = [state["_parameters"][name] for name in state.pop("operator_weights")]
    return made


def final_layer(layer: Any) -> tuple[nn.Layer, list[IntegerWeight]]:
    """The float layer with its batch norm folded, and the integers of its weights; none where it stays float.  The layer is left alone.

    Raises:
        ConfigError: a user's function rounds to no grid any more.
        NonFiniteError: training has made a weight or a step NaN or Inf.
    """
    made = as_float_layer(layer)
    norm, preprocess = layer._sub_layers["norm"] if layer.owns_norm else None, vars(layer)["preprocess_weight"]
    weights: list[IntegerWeight] = []
    for name, grid in layer._sub_layers["weight_grids"].items():
        weights.append(grid.integers_of(layer.float_weight(name).astype("float32")))
        if preprocess is not None:
            _set_weight(made, name, preprocess(layer._parameters[name]))
    if norm is not None:
        if not layer.folds:
            weights = [multiply_channels(made, weight, norm_factor(norm)) for weight in weights]
        fold_batch_norm(made, norm)
    return made, weights


def final_twin(layer: Any) -> Any:
    """The layer that conversion would put in its place, without the grid of its input."""
    made, weights = final_layer(layer)
    if not weights:
        return made
    twin: Any = PTQRegistry.twin_class(made).from_float(made, None, *weights)  # type: ignore[attr-defined]
    scales = {float(grid.input_grid.qparams().scale) for grid in vars(layer)["read_grids"]}
    if len(scales) == 1:
        twin.round_bias(scales.pop())
    return twin


def _set_weight(layer: nn.Layer, name: str, value: paddle.Tensor) -> None:
    parameter = copy.deepcopy(layer._parameters[name])
    parameter.set_value(value.astype(parameter.dtype))
    layer._parameters[name] = parameter
