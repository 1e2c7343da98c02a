"""Overrides as JSON: entries in their order, layer classes by a name that is looked up and never imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..registry import PTQRegistry
from .keys import Key, Overrides
from .overrides import QuantOverride

__all__ = ["overrides_from_list", "overrides_to_list"]


def overrides_to_list(overrides: Overrides) -> list[dict[str, Any]]:
    """One JSON object for each entry: ``{"name": "head.*", "override": null}`` or ``{"class": "paddle.nn:Linear", "override": {...}}``.

    Raises:
        ConfigError: a class or a quantizer is registered under no name.
    """
    return [
        {
            **({"name": key} if isinstance(key, str) else {"class": _name_of_class(key)}),
            "override": None if value is None else value.to_dict(),
        }
        for key, value in overrides.items()
    ]


def overrides_from_list(entries: Any) -> dict[Key, QuantOverride | None]:
    """The overrides that `overrides_to_list` described; raises ``ConfigError`` for anything else."""
    if not isinstance(entries, list):
        raise ConfigError(f"overrides must be a list of entries, got {entries!r:.200}")
    found: dict[Key, QuantOverride | None] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or set(entry) not in ({"name", "override"}, {"class", "override"}):
            raise ConfigError(f"an entry of overrides has 'override' and either 'name' or 'class', got {entry!r:.200}")
        key = entry["name"] if "name" in entry else _class_of(entry["class"])
        if not isinstance(key, (str, type)) or key in found:
            raise ConfigError(f"overrides: {key!r:.200} is no name, or there twice")
        found[key] = None if entry["override"] is None else QuantOverride.from_dict(entry["override"])
    return found


def _name_of_class(kind: type[nn.Layer]) -> str:
    """``module:Name`` of a class; raises ``ConfigError`` for one that is neither in paddle.nn nor registered."""
    name = f"paddle.nn:{kind.__name__}" if vars(nn).get(kind.__name__) is kind else f"{kind.__module__}:{kind.__qualname__}"
    if _known_classes().get(name) is not kind:
        raise ConfigError(
            f"overrides: {kind.__name__} cannot be written as JSON: only classes of paddle.nn and those registered with "
            "PTQRegistry.register can; name the layers instead"
        )
    return name


def _class_of(name: Any) -> type[nn.Layer]:
    """The class of that name, looked up among those of paddle.nn and the registered ones: nothing is imported.

    Raises:
        ConfigError: there is none.
    """
    found = _known_classes().get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(f"overrides: no class {name!r:.200} in paddle.nn or registered; call PTQRegistry.register for it first")
    return found


def _known_classes() -> dict[str, type[nn.Layer]]:
    public = {f"paddle.nn:{name}": kind for name, kind in vars(nn).items() if isinstance(kind, type) and issubclass(kind, nn.Layer)}
    return {**{f"{kind.__module__}:{kind.__qualname__}": kind for kind in PTQRegistry._infos}, **public}
