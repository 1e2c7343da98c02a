"""A user's functions in a model: made for each layer, checked before training, and their parameters in an optimizer of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ConfigError

from ..util.modes import eval_mode
from .config import QATConfig
from .grids import FunctionGrid, WeightFunctionGrid, made_function
from .layers import LayerInTraining

__all__ = ["JointOptimizer", "function_parameters", "functions_of", "optimizer_of", "start_weights"]


def functions_of(settings: QATConfig, layer: nn.Layer) -> tuple[Any, Any]:
    """The functions before the rounding of a layer's input and of its weight."""
    given = settings.act_preprocess_func, settings.weight_preprocess_func
    return tuple(None if function is None else made_function(function, layer) for function in given)  # type: ignore[return-value]


def start_weights(layers: Iterable[nn.Layer]) -> None:
    """Gives weights their first ranges; raises `ConfigError` for a user's function that keeps no shapes or rounds to no grid."""
    for layer in layers:
        if not isinstance(layer, LayerInTraining):
            continue
        grids = layer._sub_layers["weight_grids"]
        with paddle.no_grad(), eval_mode(layer):
            for name, grid in grids.items():
                weight = layer.float_weight(name)
                if list(weight.shape) != list(layer._parameters[name].shape):
                    raise ConfigError(f"{grid.place}: weight_preprocess_func makes {weight.shape} of {layer._parameters[name].shape}")
                if isinstance(grid, WeightFunctionGrid):
                    grid.integers_of(weight.astype("float32"))
                elif not grid.is_ready:
                    grid.start(weight.astype("float32"))
            inward = layer._sub_layers.get("input_grid")
            if isinstance(inward, FunctionGrid):
                inward.qparams()


def function_parameters(model: nn.Layer) -> list[paddle.Tensor]:
    """The parameters of the user's functions in a model from `prepare`, each once."""
    found: dict[int, paddle.Tensor] = {}
    for layer in model.sublayers(include_self=True):
        functions: list[Any] = []
        if isinstance(layer, (FunctionGrid, WeightFunctionGrid)):
            functions.append(layer.function)
        if isinstance(layer, LayerInTraining):
            functions += [layer._sub_layers.get("input_preprocess"), layer._sub_layers.get("weight_preprocess")]
        for function in functions:
            if isinstance(function, nn.Layer):
                found.update((id(parameter), parameter) for parameter in function.parameters() if not parameter.stop_gradient)
    return list(found.values())


class JointOptimizer:
    """Two optimizers, one for the user's functions: a step, a cleared gradient or a state is that of both."""

    def __init__(self, main: Any, functions: Any) -> None:
        self.main, self.functions = main, functions

    def step(self) -> None:
        """A step of both."""
        self.main.step()
        self.functions.step()

    def clear_grad(self, *args: Any, **kwargs: Any) -> None:
        """Clears the gradients of both."""
        self.main.clear_grad(*args, **kwargs)
        self.functions.clear_grad(*args, **kwargs)

    def minimize(self, loss: paddle.Tensor, *args: Any, **kwargs: Any) -> Any:
        """As `paddle.optimizer.Optimizer.minimize`, after ``loss.backward()``."""
        result = self.main.minimize(loss, *args, **kwargs)
        self.functions.step()
        return result

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"main": self.main.state_dict(), "functions": self.functions.state_dict()}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self.main.set_state_dict(state["main"])
        self.functions.set_state_dict(state["functions"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.main, name)


def optimizer_of(model: nn.Layer, make: Callable[[list[paddle.Tensor]], Any], optimizer_func: Callable[..., Any] | None) -> Any:
    """An optimizer of a prepared model's parameters, those of the user's functions by one of their own.

    Args:
        model: from `prepare`.
        make: makes an optimizer of a list of parameters.
        optimizer_func: the config's; ``None`` lets ``make`` have all parameters.

    Raises:
        ConfigError: ``optimizer_func`` makes no optimizer.
    """
    own = function_parameters(model)
    if optimizer_func is None or not own:
        return make(model.parameters())
    known = {id(parameter) for parameter in own}
    main = make([parameter for parameter in model.parameters() if id(parameter) not in known])
    return JointOptimizer(main, _made_optimizer(optimizer_func, own))


def _made_optimizer(function: Callable[..., Any], parameters: list[paddle.Tensor]) -> Any:
    made = function(parameters) if inspect.signature(function).parameters else _of_static_mode(function, parameters)
    if not isinstance(made, paddle.optimizer.Optimizer):
        raise ConfigError(f"optimizer_func must make a paddle.optimizer.Optimizer, got {made!r}")
    return made


def _of_static_mode(function: Callable[..., Any], parameters: list[paddle.Tensor]) -> Any:
    """As PaddleSlim has it: the function makes an optimizer without parameters, which only static mode allows; it gets them here."""
    paddle.enable_static()
    try:
        made = function()
    finally:
        paddle.disable_static()
    if not isinstance(made, paddle.optimizer.Optimizer):
        return made
    made._parameter_list = list(parameters)
    made._param_groups = made._parameter_list
    return made
