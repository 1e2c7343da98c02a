"""Layers in training: a float layer's parameters under the same names, rounded when they are read, and its input rounded.

A layer in training derives from its float layer's class and passes for it, so that whatever asks for its class, its weight or its
settings goes on as before.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ModelError

from ..layers import ActivationGrid
from ..registry import PTQRegistry, input_argument
from ..util.paddle_private import RNNBase
from .final import final_twin
from .grids import GridInTraining
from .norms import folded_bias, folded_weight, unfolded_result

__all__ = ["ActivationInTraining", "LayerInTraining", "in_training"]

_made: dict[type, type] = {}


class LayerInTraining(nn.Layer):  # type: ignore[misc]
    """Mixin of all layers in training.

    Sublayers:
        input_grid: of the input, ``None`` where that is rounded already or is no activation.
        weight_grids: one for each weight, by its name; none in a layer that stays float and is here for its batch norm alone.
        input_preprocess, weight_preprocess: the user's functions, as far as they are layers.
        norm: the batch norm behind the layer, where ``owns_norm``; with ``folds`` the weight is rounded with it folded in.
    """

    float_class: type[nn.Layer]
    owns_norm: bool
    folds: bool

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the float layer, on grids, and the batch norm after it; raises ``ModelError`` while Paddle traces."""
        if not paddle.in_dynamic_mode():
            raise ModelError("a model in training runs eagerly only; ptq.qat.convert it, then trace or save what that returns")
        args, kwargs = self._on_grid(args, kwargs)
        if not self.training and not paddle.is_grad_enabled() and (self.owns_norm or vars(self)["read_grids"]):
            return final_twin(self).forward(*args, **kwargs)  # to the bit what is converted: batch norms folded, biases rounded
        output = self.float_class.forward(self, *args, **kwargs)
        norm = self._sub_layers.get("norm") if self.owns_norm else None
        if norm is None:
            return output
        return unfolded_result(norm, self._parameters.get("bias"), output) if self.folds else norm(output)

    def _on_grid(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        name = "" if args else input_argument(self.float_class)
        x = kwargs[name] if name else args[0]
        preprocess, grid = vars(self)["preprocess_input"], self._sub_layers.get("input_grid")
        x = x if preprocess is None else preprocess(x)
        x = x if grid is None else grid(x)
        return (args, {**kwargs, name: x}) if name else ((x, *args[1:]), kwargs)

    def float_weight(self, name: str) -> paddle.Tensor:
        """The weight that is rounded: preprocessed, and with the batch norm in it where that is folded in training."""
        weight = self._parameters[name]
        preprocess = vars(self)["preprocess_weight"]
        if preprocess is not None:
            weight = preprocess(weight)
        return folded_weight(self, self._sub_layers["norm"], weight) if self.folds else weight

    def rounded_weight(self, name: str) -> paddle.Tensor:
        """The weight on its grid, in its own dtype; as it is where it has none."""
        grid, weight = self._sub_layers["weight_grids"].get(name), self.float_weight(name)
        if grid is not None:
            weight = grid(weight)
        dtype = self._parameters[name].dtype
        return weight if weight.dtype == dtype else weight.astype(dtype)


class WeightGrids(nn.Layer):  # type: ignore[misc]
    """The grids of one layer's weights by name; a layer, so that they are found, and nothing to call."""

    def __init__(self, grids: Mapping[str, Any]) -> None:
        super().__init__()
        for name, grid in grids.items():
            self.add_sublayer(name, grid)

    def get(self, name: str) -> Any:
        """The grid of a weight, if it has one."""
        return self._sub_layers.get(name)

    def items(self) -> list[tuple[str, Any]]:
        """Names and grids."""
        return list(self._sub_layers.items())


def in_training(
    layer: nn.Layer,
    input_grid: GridInTraining | None,
    weight_grids: Mapping[str, Any],
    *,
    norm: nn.Layer | None = None,
    folds: bool = False,
    preprocess_input: Callable[[paddle.Tensor], paddle.Tensor] | None = None,
    preprocess_weight: Callable[[paddle.Tensor], paddle.Tensor] | None = None,
    read_grids: Sequence[nn.Layer] = (),
) -> LayerInTraining:
    """The layer in training; the float layer is not changed, and shares its parameters.

    ``read_grids``: with placement ``full``, the layers that are the grids that its input lies on.
    """
    made: LayerInTraining = _empty(layer.__class__)
    state = made.__dict__
    state.update({name: copy.copy(value) if isinstance(value, (dict, set, list)) else value for name, value in vars(layer).items()})
    state["_original_funcs"] = OrderedDict()
    if isinstance(layer, RNNBase):
        names = {id(parameter): name for name, parameter in layer._parameters.items()}
        state["operator_weights"] = [names[id(parameter)] for parameter in state.pop("_all_weights")]
    state.update(owns_norm=norm is not None, folds=norm is not None and folds, read_grids=list(read_grids))
    state.update(preprocess_input=preprocess_input, preprocess_weight=preprocess_weight)
    for name, part in (("input_grid", input_grid), ("weight_grids", WeightGrids(weight_grids))):
        if part is not None:
            made.add_sublayer(name, part)
    for name, function in (("input_preprocess", preprocess_input), ("weight_preprocess", preprocess_weight)):
        if isinstance(function, nn.Layer):
            made.add_sublayer(name, function)
    if norm is not None:
        made.add_sublayer("norm", norm)
    return made


def _empty(float_class: type[nn.Layer]) -> Any:
    if float_class not in _made:
        _made[float_class] = _class_for(float_class)
    kind: Any = _made[float_class]
    return kind.__new__(kind)


def _class_for(float_class: type[nn.Layer]) -> type:
    namespace: dict[str, Any] = {
        "float_class": float_class,
        "__module__": LayerInTraining.__module__,
        # it passes for the float layer: the interception of functional operations, and users' code, look for that
        "__class__": property(lambda _: float_class),
        "__reduce_ex__": _reduce,
        "bias": property(_bias),
    }
    if issubclass(float_class, RNNBase):
        namespace["_all_weights"] = property(_all_weights)
        namespace["__bool__"] = lambda _: True  # Paddle's own are lists
    else:
        for name in ("weight", "weight_ih", "weight_hh"):
            namespace[name] = _weight_property(name)
    return type(f"{float_class.__name__}InTraining", (LayerInTraining, float_class), namespace)


def _weight_property(name: str) -> property:
    def read(self: Any) -> Any:
        if name not in self._parameters:
            raise AttributeError(f"{self.full_name()} has no attribute {name!r}")
        return self.rounded_weight(name)

    return property(read)


def _all_weights(self: Any) -> list[paddle.Tensor]:
    grids = self._sub_layers["weight_grids"]._sub_layers
    return [self.rounded_weight(name) if name in grids else self._parameters[name] for name in vars(self)["operator_weights"]]


def _bias(self: Any) -> Any:
    if "bias" not in self._parameters and "bias" not in vars(self):
        raise AttributeError(f"{self.full_name()} has no attribute 'bias'")
    bias = self._parameters.get("bias")
    return folded_bias(self._sub_layers["norm"], bias) if self.folds else bias


def _reduce(layer: Any, _protocol: Any) -> Any:
    return _empty, (layer.float_class,), dict(vars(layer))


class ActivationInTraining(ActivationGrid):
    """The grid of an activation in training."""

    def __init__(self, grid: GridInTraining) -> None:
        super().__init__()
        self.input_grid = grid

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid."""
        return self.input_grid(x)


def weights_in_training(layer: nn.Layer) -> Mapping[str, Any]:
    """The weights of a float layer that get a grid, by name."""
    return PTQRegistry.layer_info(layer).weights_of(layer)
