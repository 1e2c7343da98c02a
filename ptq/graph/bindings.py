"""Where a function is bound: in modules, and in what a model's own code holds (attributes, lists, closures, globals of functions).

``from paddle import matmul`` in a user's module binds the function itself; whoever wants to lead its calls elsewhere must bind something
else there too.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ref

from paddle import nn

__all__ = ["Binding", "Modules", "bindings_of_model"]

MAX_DEPTH = 8  # of containers and functions in one another


@dataclass(frozen=True)
class Binding:
    """A place that holds a function: a namespace or list, a closure's cell (then without ``key``), a class, or a function with defaults."""

    holder: Any
    key: Any
    function: Any

    def is_held(self) -> bool:
        """Whether the place still holds the function."""
        if isinstance(self.holder, CellType):
            return _content(self.holder) is self.function
        if isinstance(self.holder, FunctionType):
            defaults = self.holder.__defaults__ or ()
            return self.key < len(defaults) and defaults[self.key] is self.function
        if isinstance(self.holder, list):
            return self.key < len(self.holder) and self.holder[self.key] is self.function
        namespace = vars(self.holder) if isinstance(self.holder, type) else self.holder
        return namespace.get(self.key) is self.function

    def put(self, function: Any) -> None:
        """Binds another function there."""
        if isinstance(self.holder, CellType):
            self.holder.cell_contents = function
        elif isinstance(self.holder, FunctionType):
            defaults = list(self.holder.__defaults__ or ())
            defaults[self.key] = function
            self.holder.__defaults__ = tuple(defaults)
        elif isinstance(self.holder, type):  # as a plain function it would become a method
            setattr(self.holder, self.key, function if function is self.function else staticmethod(function))
        else:
            self.holder[self.key] = function


class Modules:
    """The modules of the process.

    Args:
        wanted: ids of the functions to look for.
    """

    def __init__(self, wanted: Container[int]) -> None:
        self.wanted = wanted
        self._known: dict[str, tuple[int, int, tuple[Binding, ...]]] = {}
        self._found: tuple[Binding, ...] = ()
        self._count = 0

    def bindings(self, is_new: bool) -> Iterator[Binding]:
        """Where the functions are bound.

        Args:
            is_new: look at every module again that holds more or fewer names than before; without it only where modules were imported,
                and at the main one, which a notebook goes on writing.
        """
        if is_new or len(sys.modules) != self._count:
            self._count = len(sys.modules)
            modules = [(name, module) for name, module in list(sys.modules.items()) if isinstance(module, ModuleType)]
            self._known = {name: self._searched(name, module) for name, module in modules}
            self._found = tuple(binding for name, (_, _, found) in self._known.items() if name != "__main__" for binding in found)
        main = sys.modules.get("__main__")
        return chain(self._found, () if main is None else _bound_in(vars(main), self.wanted))

    def _searched(self, name: str, module: ModuleType) -> tuple[int, int, tuple[Binding, ...]]:
        names = vars(module)
        known = self._known.get(name)
        if known is not None and known[:2] == (id(names), len(names)):
            return known
        return id(names), len(names), tuple(_bound_in(names, self.wanted))


def bindings_of_model(model: nn.Layer, wanted: Container[int]) -> tuple[list[Binding], bool]:
    """Where a model's own code holds functions outside modules, and whether it was searched for them now: once for every model.

    Args:
        model: its layers' attributes and classes are searched, and what these hold.
        wanted: ids of the functions to look for.
    """
    key = id(model)  # a user's class may compare, and so have no hash
    is_new = key not in _of_models
    if is_new:
        found = list(_Search(wanted).of_model(model))
        _of_models[key] = ref(model, lambda _: _of_models.pop(key, None)), found
    return _of_models[key][1], is_new


_of_models: dict[int, tuple[Any, list[Binding]]] = {}


class _Search:
    """One walk through the objects that a model's code can reach without importing."""

    def __init__(self, wanted: Container[int]) -> None:
        self.wanted = wanted
        self._seen = {id(vars(module)) for module in list(sys.modules.values()) if isinstance(module, ModuleType)}

    def of_model(self, model: nn.Layer) -> Iterator[Binding]:
        for layer in model.sublayers(include_self=True):
            yield from self._items(vars(layer), vars(layer).items(), 0)
            for owner in type(layer).__mro__:
                if not _is_paddle(owner.__module__) and self._is_new(owner):
                    yield from self._items(owner, list(vars(owner).items()), 0)

    def _items(self, holder: Any, items: Iterable[tuple[Any, Any]], depth: int) -> Iterator[Binding]:
        for key, value in items:
            if id(value) in self.wanted:
                yield Binding(holder, key, value)
            else:
                yield from self._within(value, depth)

    def _within(self, value: Any, depth: int) -> Iterator[Binding]:
        """What a value holds: a container's items, a function's closure, its globals where they are no module's."""
        if depth > MAX_DEPTH or not isinstance(value, _HOLDERS) or not self._is_new(value):
            return
        if isinstance(value, dict):
            yield from self._items(value, list(value.items()), depth + 1)
        elif isinstance(value, list):
            yield from self._items(value, list(enumerate(value)), depth + 1)
        elif isinstance(value, tuple):
            for item in value:
                yield from self._within(item, depth + 1)
        elif isinstance(value, FunctionType):
            yield from self._of_function(value, depth)
        elif isinstance(value, partial):
            yield from self._within(value.func, depth + 1)
            yield from self._within(value.keywords, depth + 1)
        elif isinstance(value, property):
            yield from self._within(value.fget, depth + 1)
        else:  # a method of an instance, of the class, or of neither
            yield from self._within(value.__func__, depth + 1)

    def _of_function(self, function: FunctionType, depth: int) -> Iterator[Binding]:
        if _is_paddle(function.__module__):
            return
        for cell in function.__closure__ or ():
            yield from self._items(cell, [(None, _content(cell))], depth + 1)
        yield from self._items(function, list(enumerate(function.__defaults__ or ())), depth + 1)
        if function.__kwdefaults__:
            yield from self._items(function.__kwdefaults__, list(function.__kwdefaults__.items()), depth + 1)
        if self._is_new(function.__globals__):
            yield from _bound_in(function.__globals__, self.wanted)
        yield from self._within(getattr(function, "__wrapped__", None), depth + 1)

    def _is_new(self, item: Any) -> bool:
        is_new = id(item) not in self._seen
        self._seen.add(id(item))
        return is_new


_HOLDERS = (dict, list, tuple, FunctionType, MethodType, partial, property, staticmethod, classmethod)


def _bound_in(names: dict[str, Any], wanted: Container[int]) -> Iterator[Binding]:
    for name, value in list(names.items()):
        if id(value) in wanted:
            yield Binding(names, name, value)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _is_paddle(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] == "paddle"
