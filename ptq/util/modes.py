"""Running a model in eval mode without leaving a trace, and keeping Paddle's tracer out of our own code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import paddle
from paddle import nn

__all__ = ["eval_mode", "untraced"]

Function = TypeVar("Function", bound=Callable[..., Any])


def untraced(function: Function) -> Function:
    """Keeps a function as it is written: the tracer rewrites all that a forward calls, and context managers do not survive it."""
    return cast(Function, paddle.jit.not_to_static(function))


@contextlib.contextmanager
def eval_mode(model: nn.Layer) -> Iterator[None]:
    """Every sublayer in eval mode, each put back as it was: a model may hold frozen parts whose mode differs from its own."""
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    try:
        for layer, _ in modes:
            layer.training = False
        yield
    finally:
        for layer, training in modes:
            layer.training = training
