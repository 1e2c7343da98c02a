"""A user's function before the rounding of an input, kept in front of the twin."""

from __future__ import annotations

from typing import Any

from paddle import nn

from ..layers import GridInput
from ..registry import input_argument

__all__ = ["keep_preprocess"]


class _Before:
    """Forward pre-hook of a twin."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, layer: Any, args: tuple[Any, ...], kwargs: Any = None) -> Any:
        """Called by Paddle before ``forward``."""
        if args:
            return (self.function(args[0]), *args[1:]), kwargs or {}
        name = input_argument(layer.float_class)
        return args, {**kwargs, name: self.function(kwargs[name])}


def keep_preprocess(twin: GridInput, function: Any) -> None:
    """Lets the function run on the input of a twin, in place."""
    if function is None:
        return
    if isinstance(function, nn.Layer):
        function.eval()
        twin.add_sublayer("input_preprocess", function)
    twin.register_forward_pre_hook(_Before(function), with_kwargs=True)
