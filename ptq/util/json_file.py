"""Small JSON files: read without trusting them, written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError

from .whole_file import write_whole

__all__ = ["read_json", "write_json"]

_MAX_BYTES = 16 << 20


def read_json(path: str | os.PathLike[str]) -> Any:
    """The JSON value in a file.

    Raises:
        ConfigError: ``path`` is no path.
        ArtifactError: there is no such file, or it cannot be read.
        CorruptArtifactError: it does not hold JSON, or an object in it has one name twice.
    """
    name = _as_path(path)
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise ArtifactError(f"{name} cannot be read: not a plain file of at most {_MAX_BYTES >> 20} MiB")
        with open(name, "rb") as file:
            data = file.read(status.st_size)  # what is asked for is allocated at once
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise CorruptArtifactError(f"{name} is not valid JSON ({str(error)[:200]}); write it again, or restore it from a copy") from error


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a file, whole or not at all.

    Raises:
        ConfigError: ``path`` is no path.
        ArtifactError: the file cannot be written.
    """
    target = Path(_as_path(path))
    data = json.dumps(value, indent=1, allow_nan=False).encode("ascii") + b"\n"
    try:
        write_whole(target, data)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{target} cannot be written: {error}") from error


def _as_path(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str) or not os.path.basename(os.fspath(path)):
        raise ConfigError(f"the path of a JSON file must be the path of a file, got {path!r}")
    return os.fspath(path)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has one name twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
