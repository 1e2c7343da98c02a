"""Texts that travel in a file beside the model, such as the characters that a recognition model knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from quantizers.errors import ConfigError

__all__ = ["Metadata", "checked_metadata"]

Metadata: TypeAlias = Mapping[str, "str | Sequence[str]"]
KEEPS_METADATA = "onnx"


def checked_metadata(metadata: Metadata | None, formats: Collection[str]) -> dict[str, str]:
    """The texts by name, lists of texts as lines.

    Raises:
        ConfigError: the metadata is no dict of texts or lists of texts, a text of a list has a line break, or no format keeps it.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) and name for name in metadata):
        raise ConfigError(f"metadata must be a dict of texts by name, got {metadata!r:.200}")
    if metadata and KEEPS_METADATA not in formats:
        raise ConfigError(
            f"only the format '{KEEPS_METADATA}' keeps metadata, and formats are {', '.join(formats)}: add it, or leave metadata out"
        )
    return {name: _text(name, value) for name, value in metadata.items()}


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value):
        raise ConfigError(f"metadata {name!r} must be a text or a list of texts, got {value!r:.200}")
    broken = next((line for line in value if "\n" in line), None)
    if broken is not None:
        raise ConfigError(f"metadata {name!r} holds {broken!r:.100}, which has a line break: a list of texts is kept as lines")
    return "\n".join(value)
