"""Tuples, lists and dicts of arguments, nested: one walk for all who look into them or make others like them.

A nest is a tuple, named tuple, list or mapping; all else, `None` and tensors included, is a leaf.  Items of mappings are walked in the
order of their keys, as Paddle numbers the inputs and outputs of a program, and keys that do not sort in the order of their types and texts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import paddle

__all__ = ["leaves", "map_nest", "map_tensors", "tensors_in"]


def map_nest(function: Callable[..., Any], nest: Any, *others: Any, apart: Callable[..., Any] | None = None) -> Any:
    """A nest of the same structure, in the place of each leaf what ``function`` makes of it.

    Mappings become dicts; the objects are new ones, also where nothing changed.

    Args:
        function: takes a leaf of ``nest``, and what stands in its place in each of the others.
        nest: the nest that gives the structure.
        others: nests of the same structure, which may have nests of their own where it has leaves.
        apart: takes the parts whose structures differ, for what is to stand there.

    Raises:
        ValueError: the structures differ, and there is no ``apart``.
    """
    if not _is_nest(nest):
        return function(nest, *others)
    if not all(_is_like(nest, other) for other in others):
        if apart is None:
            described = " and ".join(_described(item) for item in (nest, *others))
            raise ValueError(f"nests of different structure: {described}")
        return apart(nest, *others)
    keys = _keys(nest)
    found = {key: map_nest(function, nest[key], *(other[key] for other in others), apart=apart) for key in keys}
    return _rebuilt(nest, found)


def leaves(nest: Any) -> Iterator[Any]:
    """The leaves of a nest, in order; a leaf's own only leaf is itself."""
    if not _is_nest(nest):
        yield nest
        return
    for key in _keys(nest):
        yield from leaves(nest[key])


def map_tensors(function: Callable[[paddle.Tensor], Any], nest: Any) -> Any:
    """`map_nest` of a function for tensors; other leaves stay."""
    return map_nest(lambda leaf: function(leaf) if isinstance(leaf, paddle.Tensor) else leaf, nest)


def tensors_in(nest: Any) -> list[paddle.Tensor]:
    """The tensors among the leaves, in order."""
    return [leaf for leaf in leaves(nest) if isinstance(leaf, paddle.Tensor)]


def _is_nest(item: Any) -> bool:
    return isinstance(item, (tuple, list, Mapping))


def _is_like(nest: Any, other: Any) -> bool:
    if isinstance(nest, Mapping):
        return isinstance(other, Mapping) and nest.keys() == other.keys()
    return type(nest) is type(other) and len(nest) == len(other)


def _keys(nest: Any) -> list[Any]:
    if not isinstance(nest, Mapping):
        return list(range(len(nest)))
    try:
        return sorted(nest)
    except TypeError:
        return sorted(nest, key=lambda key: (type(key).__name__, str(key)))


def _rebuilt(nest: Any, found: dict[Any, Any]) -> Any:
    """The items in a nest of the same kind; a mapping's in the mapping's own order."""
    if isinstance(nest, Mapping):
        return {key: found[key] for key in nest}
    items = list(found.values())
    if isinstance(nest, list):
        made = copy.copy(nest)  # a user's subclass keeps its attributes
        made[:] = items
        return made
    return nest._make(items) if hasattr(nest, "_make") else type(nest)(items)


def _described(item: Any) -> str:
    if not _is_nest(item):
        return type(item).__name__
    names = f" of {', '.join(map(str, _keys(item)))}" if isinstance(item, Mapping) else f" of {len(item)}"
    return type(item).__name__ + names
