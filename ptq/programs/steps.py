"""What runs in a forward: steps, each a function or a layer with the values that it reads and computes.

Functions are looked up in Paddle's modules by name when they run, because whoever watches a forward replaces them there.  Steps hold
nothing but plain data, so a layer made of them can be copied and pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it

from ..util.paddle_private import C_OPS
from . import replayed
from .records import Dtype

__all__ = ["Call", "Hole", "Step"]

MODULES: dict[str, ModuleType] = {"paddle": paddle, "F": F, "native": C_OPS, "replayed": replayed}


@dataclass(frozen=True)
class Hole:
    """The place of a computed tensor among the arguments of a call."""

    index: int


class Call:
    """One call of a function of Paddle, with constant arguments filled in.

    Args:
        function: ``module.name``, the module one of `MODULES`.
        arguments: constants, and a `Hole` for each computed tensor; lists may hold both.
    """

    __slots__ = ("arguments", "function", "module", "tail")

    def __init__(self, function: str, arguments: Sequence[Any]) -> None:
        self.module, _, self.function = function.partition(".")
        self.arguments = tuple(arguments)
        holes = sum(isinstance(argument, Hole) for argument in self.arguments)
        leading = all(argument == Hole(index) for index, argument in enumerate(self.arguments[:holes]))
        rest = self.arguments[holes:]
        # most calls are tensors first and constants behind them: no need to look for holes each time
        simple = leading and not any(_has_hole(argument) or isinstance(argument, Dtype) for argument in rest)
        self.tail: tuple[Any, ...] | None = rest if simple else None

    def __call__(self, *tensors: Any) -> Any:
        function = getattr(MODULES[self.module], self.function)
        if self.tail is not None:
            return function(*tensors, *self.tail)
        return function(*[_filled(argument, tensors) for argument in self.arguments])

    def __reduce__(self) -> Any:
        return Call, (f"{self.module}.{self.function}", self.arguments)

    def __repr__(self) -> str:
        return f"Call({self.module}.{self.function}, {self.arguments})"


def _has_hole(argument: Any) -> bool:
    return isinstance(argument, Hole) or (isinstance(argument, (list, tuple)) and any(map(_has_hole, argument)))


def _filled(argument: Any, tensors: Sequence[Any]) -> Any:
    if isinstance(argument, Hole):
        return tensors[argument.index]
    if isinstance(argument, Dtype):
        return getattr(paddle, argument)
    if isinstance(argument, list):
        return [_filled(item, tensors) for item in argument]
    return argument


@dataclass
class Step:
    """One step of a forward.

    Attributes:
        inputs: values that it reads, in the order of the function's tensors.
        outputs: where its results go; ``None`` for one that nobody reads.  A single one that is no list takes the result as it is.
        function: what is called; it gets the layer first where there is one, and may be ``None`` then: the layer itself is called.
        layer: path of the layer.
        dead: values that nobody reads after it.
    """

    inputs: tuple[int, ...]
    outputs: int | tuple[int | None, ...]
    function: Any = None
    layer: str = ""
    dead: tuple[int, ...] = field(default=())
