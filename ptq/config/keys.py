"""Which layers and activations the keys of ``PTQConfig.overrides`` speak of.

A key is one of:

- the exact name of a layer (as in ``model.named_sublayers()``; ``""`` is the model) or of an activation, such as ``layer1.0.add#0``;
- a glob of names, such as ``head.*``: ``*`` is any text, dots included, ``?`` one character, ``[ab]`` one of these;
- ``re:`` and a regular expression that is found anywhere in a name; ``^`` and ``$`` bind it to the ends;
- a class of layers, subclasses included.

An exact name or a class speaks of a layer and of all within it; globs and regular expressions speak of the names that they match, so that
"all but" can be said.  Entries are applied in their order: each changes what those before it left, and ``None`` (stays float) and
settings take each other's place, so the last one counts.

An activation is named after where it is made: ``input#0``, ``relu#0``, ``layer1.0.conv2``, in the second call of a layer
``layer1.0.conv2@1``.  A name without ``@1`` speaks of every call.  The result of a layer is also called ``layer1.0.conv2:output``, to
tell it from the layer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..registry import PTQRegistry
from ..sites import CALL_INPUT
from .overrides import QuantOverride

__all__ = ["Changes", "Key", "ModelKeys", "Overrides", "check_overrides"]

Key = str | type[nn.Layer]
Overrides = Mapping[Key, QuantOverride | None]
Changes = list[QuantOverride]

REGEX = "re:"
CALL_OUTPUT = ":output"
_CALL_NUMBER = re.compile(r"@\d+")


def check_overrides(overrides: Any) -> dict[Key, QuantOverride | None]:
    """A copy of the overrides of a config; raises ``ConfigError`` for keys and values of the wrong kind."""
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise ConfigError(f"overrides must be a dict from names or layer classes to QuantOverride or None, got {overrides!r:.200}")
    for key, value in overrides.items():
        if not isinstance(key, str) and not (isinstance(key, type) and issubclass(key, nn.Layer)):
            raise ConfigError(f"overrides: a key must be a name, a pattern or a subclass of paddle.nn.Layer, got {key!r:.200}")
        if value is not None and not isinstance(value, QuantOverride):
            raise ConfigError(f"overrides[{show(key)}] must be a QuantOverride, or None for what stays float, got {value!r:.200}")
        if isinstance(key, str) and key.startswith(REGEX):
            try:
                re.compile(key[len(REGEX) :])
            except (re.error, OverflowError, RecursionError) as error:
                raise ConfigError(f"overrides: {key!r:.200} is not a regular expression: {error}") from error
    return dict(overrides)


def show(key: Key) -> str:
    """A key for messages."""
    return key.__name__ if isinstance(key, type) else repr(key)


@dataclass(frozen=True)
class Place:
    """A layer or an activation: its own names, and the names and classes of all that it is within, itself included."""

    names: frozenset[str]
    within: frozenset[str]
    classes: frozenset[type]

    def fits(self, key: Key) -> bool:
        """Whether the key speaks of this place."""
        if isinstance(key, type):
            return any(issubclass(kind, key) for kind in self.classes)
        return key in self.within or any(_is_like(name, key) for name in self.names)


class ModelKeys:
    """What the keys of overrides can mean in one model."""

    def __init__(self, model: nn.Layer, overrides: Overrides) -> None:
        self.overrides = overrides
        self.layers = dict(_named(model, "", ())) if overrides else {}
        self._names: dict[int, list[str]] = {}
        for name, layer in self.layers.items():
            self._names.setdefault(id(layer), []).append(name)

    def changes_of(self, layer: nn.Layer) -> Changes | None:
        """The settings of one layer of the model, to be applied in order; ``None`` when it stays float."""
        return self._changes([self._layer_place(layer)]) if self.overrides else []

    def check_layers(self, placement: str) -> None:
        """Refuses keys that match no layer, as far as that is known before the model is traced.

        Raises:
            ConfigError: it names the key, and what looks like it.
        """
        layers = list({id(layer): layer for layer in self.layers.values()}.values())
        quantizable = [self._layer_place(layer) for layer in layers if _is_quantizable(layer)]
        others = [self._layer_place(layer) for layer in layers if PTQRegistry.is_supported_layer(layer) and not _is_quantizable(layer)]
        for key in self.overrides:
            may_be_activation = isinstance(key, str) and (placement == "full" or ":" in key.removeprefix(REGEX))
            if any(place.fits(key) for place in quantizable) or (may_be_activation and not any(place.fits(key) for place in others)):
                continue
            raise self._no_match(key, "no layer that can be quantized", ())

    def check_activations(self, sites: Iterable[str]) -> None:
        """Refuses names and patterns that match neither a layer nor one of the activations that get a grid; raises as `check_layers`."""
        sites = list(sites)
        places = [self.site_place(site) for site in sites]
        # a batch norm that a key named may have been folded since, which leaves an Identity under its name
        supported = [layer for layer in self.layers.values() if PTQRegistry.is_supported_layer(layer) or _is_quantizable(layer)]
        places += map(self._layer_place, supported)
        for key in self.overrides:
            if isinstance(key, str) and not any(place.fits(key) for place in places):
                raise self._no_match(key, "no layer that can be quantized and no activation that gets a grid", sites)

    def changes_of_site(self, site: str, readers: Iterable[str]) -> Changes | None:
        """The settings of the grid of one activation, ``None`` when it gets none; ``readers``: compute layers that take it from there."""
        place = self.site_place(site)
        if self._changes([place]) is None:
            return None
        # what is said of a layer that reads the tensor counts too, but cannot bring back a grid that is not wanted
        return self._changes([place, *(self._layer_place(self.layers[name]) for name in readers if name in self.layers)])

    def site_place(self, site: str) -> Place:
        """The place of an activation."""
        every_call = _CALL_NUMBER.sub("", site)
        layer = every_call.removesuffix(CALL_INPUT)
        names = {site, every_call}
        if layer == every_call and layer in self.layers:
            names.update(self._names_of(layer))
            names.update([f"{name}{CALL_OUTPUT}" for name in names])
        return self._place(names, {*names, layer})

    def _layer_place(self, layer: nn.Layer) -> Place:
        names = self._names[id(layer)]
        return self._place(names, names)

    def _names_of(self, name: str) -> list[str]:
        """All names of what has this one: a layer may be registered several times."""
        return self._names[id(self.layers[name])] if name in self.layers else [name]

    def _place(self, names: Iterable[str], origins: Iterable[str]) -> Place:
        holders = {holder for name in origins for holder in _holders(name)}
        within = {"", *(outer for holder in holders for name in self._names_of(holder) for outer in _holders(name))}
        classes = {self.layers[name].__class__ for name in within if name in self.layers}
        return Place(frozenset(names), frozenset(within), frozenset(classes))

    def _changes(self, places: list[Place]) -> Changes | None:
        changes: Changes | None = []
        for key, value in self.overrides.items():
            if any(place.fits(key) for place in places):
                changes = None if value is None else [*(changes or []), value]
        return changes

    def _no_match(self, key: Key, what: str, sites: Iterable[str]) -> ConfigError:
        layers = {name: layer for name, layer in self.layers.items() if _is_quantizable(layer)}
        names = list(dict.fromkeys([*(holder for name in layers for holder in _holders(name)), *sites]))
        if isinstance(key, type):
            found = sorted({type(layer).__name__ for layer in layers.values()})
            return ConfigError(f"overrides: {key.__name__} matches {what}; the model has {', '.join(found) or 'none'}")
        holders = [name for name, layer in self.layers.items() if name and layer._sub_layers and _is_like(name, key)]
        if holders:
            advice = f"it matches {holders[0]!r}, which holds layers: use that exact name, or a pattern of the names within"
        else:
            near = difflib.get_close_matches(key.removeprefix(REGEX), names, n=3, cutoff=0.5)
            advice = f"did you mean {', '.join(map(repr, near))}?" if near else f"the model has {', '.join(map(repr, names[:5])) or 'none'}"
        return ConfigError(f"overrides: {key!r:.200} matches {what}; {advice}")


def _is_like(name: str, pattern: str) -> bool:
    """Whether a regular expression is found in a name, or a glob is all of it."""
    if pattern.startswith(REGEX):
        return re.search(pattern[len(REGEX) :], name) is not None
    return fnmatchcase(name, pattern)


def _is_quantizable(layer: nn.Layer) -> bool:
    if PTQRegistry.is_supported_layer(layer):
        return not PTQRegistry.layer_info(layer).transparent
    return PTQRegistry.overridden_base(layer) is not None


def _holders(name: str) -> Iterator[str]:
    """The name, and those of the layers around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _named(layer: nn.Layer, name: str, above: tuple[nn.Layer, ...]) -> Iterator[tuple[str, nn.Layer]]:
    """Every layer under every name that it has, also where one holds itself; not those that another stands for as a whole."""
    yield name, layer
    if PTQRegistry.is_supported_layer(layer) and PTQRegistry.layer_info(layer).whole:
        return
    for key, child in layer._sub_layers.items():
        if child is not None and child is not layer and all(child is not holder for holder in above):
            yield from _named(child, f"{name}.{key}" if name else key, (*above, layer))
