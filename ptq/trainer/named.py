"""What a configuration names by ``type``: something shipped, or ``module:name`` of the user's."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from quantizers.errors import ConfigError, QuantizationError

from ..util.messages import last_line

__all__ = ["make"]


def make(kind: str, arguments: Mapping[str, Any], known: Mapping[str, Callable[..., Any]], where: str) -> Any:
    """What a type's maker makes of its arguments.

    Args:
        kind: a name in ``known``, in any case, or ``module:name``, looked for in the working folder too.
        arguments: by name.
        known: the makers that are shipped.
        where: the section, for messages.

    Raises:
        ConfigError: there is no such maker, or it does not take these arguments.
    """
    maker = _own(kind, where) if ":" in kind else {name.lower(): value for name, value in known.items()}.get(kind.lower())
    if maker is None:
        raise ConfigError(f"{where}: there is no {kind!r}; there are {', '.join(known)}, and module:name for one of your own")
    try:
        return maker(**arguments)
    except QuantizationError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{where}: {kind} does not take what it is given ({last_line(error)})") from error


def _own(name: str, where: str) -> Any:
    module, _, path = name.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # the user's module: anything may come out of it
        raise ConfigError(f"{where}: {module} cannot be imported ({type(error).__name__}: {last_line(error)})") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{where}: {module} has no {path}")
        found = getattr(found, part)
    return found
