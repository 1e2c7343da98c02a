"""Puts other layers in the place of layers, wherever a model refers to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddle import nn

__all__ = ["replace_layers"]


def replace_layers(model: nn.Layer, replacements: Mapping[nn.Layer, nn.Layer]) -> nn.Layer:
    """Swaps layers at every place where they are registered, or kept in a plain attribute, list, tuple or dict.

    Args:
        model: changed in place.
        replacements: old layer to new layer.

    Returns:
        The model, or its replacement when the model itself is replaced.
    """
    by_id = {id(old): new for old, new in replacements.items()}
    seen: set[int] = set()
    for layer in [*model.sublayers(include_self=True), *replacements.values()]:
        for name, value in list(vars(layer).items()):
            replaced = _replaced(value, by_id, seen)
            if replaced is not value:
                vars(layer)[name] = replaced
    return by_id.get(id(model), model)


def _replaced(value: Any, by_id: Mapping[int, nn.Layer], seen: set[int]) -> Any:
    """``value`` with the layers in it replaced; lists and dicts in place, so that other references to them follow, and each once."""
    if isinstance(value, nn.Layer):
        return by_id.get(id(value), value)
    if type(value) is tuple:
        items = [_replaced(item, by_id, seen) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else tuple(items)
    if isinstance(value, (list, dict)) and id(value) not in seen:
        seen.add(id(value))
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            replaced = _replaced(item, by_id, seen)
            if replaced is not item:
                value[key] = replaced
    return value
