"""A copy of a model's structure that shares its tensors: to try something on, or to look at, while the model itself is left alone."""

from __future__ import annotations

from types import MethodType
from typing import Any

from paddle import nn

__all__ = ["structural_copy"]


def structural_copy(model: nn.Layer) -> nn.Layer:
    """A model of copied layers, lists and dicts over the same parameters, buffers and other objects.

    Replacing layers, hooks, modes and classes of the copy leaves the model as it is; writing into a tensor does not.  Nothing is
    asked of the user's classes, not even that they can be copied.
    """
    return _StructuralCopy(model).copies[id(model)]


class _StructuralCopy:
    def __init__(self, model: nn.Layer) -> None:
        layers = model.sublayers(include_self=True)
        self.copies: dict[int, Any] = {id(layer): object.__new__(type(layer)) for layer in layers}
        self._containers: dict[int, Any] = {}
        self._kept: list[Any] = []  # what `_containers` knows by id must live as long
        for layer in layers:
            vars(self.copies[id(layer)]).update({name: self._copied(value) for name, value in vars(layer).items()})

    def _copied(self, value: Any) -> Any:
        if isinstance(value, nn.Layer):
            return self.copies.get(id(value), value)
        if isinstance(value, MethodType):
            owner = self.copies.get(id(value.__self__))
            return value if owner is None else MethodType(value.__func__, owner)
        if isinstance(value, (dict, list, set)):
            return self._container(value)
        if type(value) is tuple:
            items = [self._copied(item) for item in value]
            return value if all(new is old for new, old in zip(items, value, strict=True)) else tuple(items)
        return value

    def _container(self, value: Any) -> Any:
        known = self._containers.get(id(value))
        if known is not None:
            return known
        copied = self._containers[id(value)] = value.copy()  # of its own class: Paddle keeps dicts of several kinds
        self._kept.append(value)
        if isinstance(copied, dict):
            for key, item in value.items():
                copied[key] = self._copied(item)
        elif isinstance(copied, list):
            copied[:] = [self._copied(item) for item in value]
        return copied
