"""Running a user's forward without leaving a trace in the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import paddle
from paddle import nn

__all__ = ["unchanged"]


@contextlib.contextmanager
def unchanged(model: nn.Layer) -> Iterator[None]:
    """On leaving, attributes, containers and buffers of every layer, and the random numbers, are as they were on entering.

    A forward may count its calls, keep its last features or fill a cache; traced, it would keep values of a program.
    """
    states = [(layer, dict(vars(layer)), _contents(layer)) for layer in model.sublayers(include_self=True)]
    kept = [(tensor, tensor.clone()) for tensor in _changeable(model)]
    random = paddle.get_rng_state()
    try:
        yield
    finally:
        paddle.set_rng_state(random)
        for layer, attributes, contents in states:
            vars(layer).clear()
            vars(layer).update(attributes)
            for container, content in contents:
                _refill(container, content)
        for tensor, value in kept:
            if not bool(paddle.equal_all(tensor, value)):
                tensor.set_value(value)


def _changeable(model: nn.Layer) -> Iterator[paddle.Tensor]:
    """Buffers, and the running statistics of norms, which Paddle keeps as parameters without gradient."""
    statistics = (parameter for parameter in model.parameters() if parameter.stop_gradient and parameter.ndim < 2)
    return (tensor for tensor in (*model.buffers(), *statistics) if tensor._is_initialized() and tensor.size)


def _contents(layer: nn.Layer) -> list[tuple[Any, Any]]:
    return [(value, value.copy()) for value in vars(layer).values() if isinstance(value, (dict, list, set))]


def _refill(container: Any, content: Any) -> None:
    container.clear()
    container.extend(content) if isinstance(container, list) else container.update(content)
