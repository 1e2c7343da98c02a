"""A saved program as a layer: it holds layers, and its forward runs the steps between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import ProgramError

from ..util.modes import untraced
from ..util.paddle_private import EagerParamBase
from .plan import Plan
from .records import Constant, Port

__all__ = ["MOST_INPUTS", "Program", "Visit", "layer_at", "run_steps"]

MOST_INPUTS = 12

Visit = Callable[[int, list[Any], Any], Any]


class Program(nn.Layer):  # type: ignore[misc]
    """A saved program, made by `load_program`; used like any other layer.

    Attributes:
        input_spec: what it takes, from the file: names, sizes (-1 where free) and data types.
        output_names: names of what it returns, in order.
        parameter_names: by path of a layer, the names of the file's parameters that its weights were made of.
    """

    def __init__(self, plan: Plan, inputs: list[Port], output_names: list[str], obstacles: list[str]) -> None:
        super().__init__()
        for path, layer in plan.layers.items():
            _put(self, path, layer)
        for name, constant in plan.constants.items():
            _hold(self, name, constant)
        self.input_spec = [InputSpec(list(port.shape), port.dtype, port.name) for port in inputs]
        self.output_names = output_names
        self.parameter_names = plan.sources
        self._inputs, self._outputs, self._size = plan.inputs, plan.outputs, plan.size
        self._held = [(held.value, tuple(held.layer.split(".")) if held.layer else (), held.name) for held in plan.held]
        self._steps = [
            (tuple(step.layer.split(".")) if step.layer else (), step.function, step.inputs, step.outputs, step.dead) for step in plan.steps
        ]
        self._obstacles = obstacles
        self.eval()

    def train(self) -> None:
        """Training mode.

        Raises:
            ProgramError: the file lacks what training needs.
        """
        if self._obstacles:
            listed = "; ".join(self._obstacles[:3]) + (f"; and {len(self._obstacles) - 3} more" if len(self._obstacles) > 3 else "")
            raise ProgramError(f"this program cannot be trained, since its file was made for inference: {listed}")
        super().train()

    # Paddle saves no forward that takes any number of arguments, so each has a name here.
    def forward(
        self,
        x0: Any = None,
        x1: Any = None,
        x2: Any = None,
        x3: Any = None,
        x4: Any = None,
        x5: Any = None,
        x6: Any = None,
        x7: Any = None,
        x8: Any = None,
        x9: Any = None,
        x10: Any = None,
        x11: Any = None,
    ) -> Any:
        """Runs the program.

        Args:
            x0, x1, ...: one tensor for each entry of ``input_spec``, in this order.

        Returns:
            The program's only result, or a list of them.

        Raises:
            TypeError: there are more or fewer than the program takes.
        """
        return _run(self, (x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11))


@untraced
def _run(program: Program, arguments: tuple[Any, ...]) -> Any:
    inputs = [argument for argument in arguments if argument is not None]
    if len(inputs) != len(program._inputs):
        names = ", ".join(spec.name for spec in program.input_spec)
        raise TypeError(f"the program takes {len(program._inputs)} inputs ({names}), got {len(inputs)}")
    answers = run_steps(program, inputs)
    return answers[0] if len(answers) == 1 else answers


@untraced
def run_steps(program: Program, inputs: Sequence[Any], visit: Visit | None = None) -> list[Any]:
    """Runs the steps of a program, and returns its results.

    Args:
        program: as `load_program` opened it, or with other layers in it.
        inputs: one tensor or traced value for each input.
        visit: gets the number of each step, what it read and what it computed, and returns what to go on with.
    """
    values: list[Any] = [None] * program._size
    for place, value in zip(program._inputs, inputs, strict=True):
        values[place] = value
    for place, path, name in program._held:
        values[place] = getattr(layer_at(program, path), name)
    for number, (path, function, reads, writes, dead) in enumerate(program._steps):
        tensors = [values[place] for place in reads]
        if not path:
            result = function(*tensors)
        elif function is None:
            result = layer_at(program, path)(*tensors)
        else:
            result = function(layer_at(program, path), *tensors)
        if visit is not None:
            result = visit(number, tensors, result)
        if isinstance(writes, int):
            values[writes] = result
        else:
            _write(values, writes, result)
        for place in dead:
            values[place] = None
    return [values[place] for place in program._outputs]


def layer_at(program: Program, path: tuple[str, ...]) -> Any:
    """The layer at a path, given in its parts."""
    # looked up each time, since quantizing puts other layers in these places
    layer: Any = program
    for name in path:
        layer = layer._sub_layers[name]
    return layer


def _write(values: list[Any], places: tuple[int | None, ...], result: Any) -> None:
    results = result if isinstance(result, (tuple, list)) else (result,)
    for place, value in zip(places, results, strict=False):
        if place is not None:
            values[place] = value


def _put(program: nn.Layer, path: str, layer: nn.Layer) -> None:
    *folders, name = path.split(".")
    for folder in folders:
        if folder not in program._sub_layers:
            program.add_sublayer(folder, nn.LayerDict())
        program = program._sub_layers[folder]
    program.add_sublayer(name, layer)


def _hold(program: Program, name: str, constant: Constant) -> None:
    if constant.parameter and constant.data.dtype in (paddle.float32, paddle.float64):
        parameter = EagerParamBase.from_tensor(constant.data, trainable=constant.trainable)
        parameter.stop_gradient = not constant.trainable
        program.add_parameter(name, parameter)
    else:
        program.register_buffer(name, constant.data)
