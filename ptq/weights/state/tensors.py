"""Opens a state in any of its formats, and lays out safetensors files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ArtifactError, CorruptArtifactError

from .entry import DTYPES, Entry
from .pickled import pickled_entries

__all__ = ["FORMAT", "INDEX", "header_of", "open_state", "safetensors_entries"]

# In the metadata of files that are written here.
FORMAT = "paddle-ptq weights"
INDEX = ".index.json"
LARGEST_HEADER = 1 << 28


def open_state(path: str | os.PathLike[str]) -> list[Entry]:
    """The tensors of a ``.pdparams`` or ``.safetensors`` file, or of several safetensors files by their index (``.index.json``).

    Raises:
        ArtifactError: there is no such file, it is of another kind, or cannot be read without executing what is in it.
        CorruptArtifactError: it is damaged, or a tensor is there twice.
    """
    file = Path(path)
    if not file.is_file():
        raise ArtifactError(f"there is no file {file}")
    if file.name.endswith(INDEX):
        entries = _sharded(file)
    elif file.suffix == ".safetensors":
        entries, metadata = safetensors_entries(file)
        if isinstance(metadata, dict) and metadata.get("format") == FORMAT:
            raise ArtifactError(f"{file} is quantized already: ptq.load_weights loads it; start from the float state to quantize it anew")
    elif file.suffix == ".pdparams":
        entries = pickled_entries(file)
    else:
        raise ArtifactError(f"{file} is no state that can be read: name a .pdparams or .safetensors file, or an index {INDEX}")
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        raise CorruptArtifactError(f"{file} holds a tensor twice")
    if not entries:
        raise CorruptArtifactError(f"{file} holds no tensor")
    return entries


def safetensors_entries(file: Path) -> tuple[list[Entry], dict[str, str]]:
    """The tensors of a safetensors file in the order of their data, and its metadata.

    Raises:
        ArtifactError: the file cannot be read.
        CorruptArtifactError: it is damaged, or has a data type that is not known.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= min(LARGEST_HEADER, size - 8):
                raise CorruptArtifactError(f"{file} is no safetensors file, or cut short")
            header = json.loads(opened.read(length))
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptArtifactError(f"{file} is no safetensors file: its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise CorruptArtifactError(f"{file} is no safetensors file: its header is no object")
    metadata = header.pop("__metadata__", {})
    entries = [_described(file, name, facts, 8 + length, size) for name, facts in header.items()]
    return sorted(entries, key=lambda entry: entry.offset), metadata


def _described(file: Path, name: str, facts: Any, start: int, size: int) -> Entry:
    try:
        shape, (begin, end) = tuple(int(number) for number in facts["shape"]), facts["data_offsets"]
        entry = Entry(name, facts["dtype"], shape, file, start + begin, end - begin)
        fits = entry.bytes == entry.length and 0 <= begin <= end <= size - start and min(shape, default=0) >= 0
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifactError(f"{file}: the header does not describe '{name}' as safetensors files do ({facts!r:.100})") from error
    if not fits:
        raise CorruptArtifactError(f"{file}: '{name}' does not lie in the file as its header says: it is cut short or damaged")
    return entry


def _sharded(index: Path) -> list[Entry]:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {name: index.parent / Path(file).name for name, file in places.items()}
    except OSError as error:
        raise ArtifactError(f"{index} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArtifactError(f"{index} is no index of safetensors files: it has no weight_map") from error
    missing = sorted({str(file) for file in files.values() if not file.is_file()})
    if missing:
        raise ArtifactError(f"{index} names files that are not there: {', '.join(missing)}")
    found = {file: {entry.name: entry for entry in safetensors_entries(file)[0]} for file in sorted(set(files.values()))}
    lost = [name for name, file in files.items() if name not in found[file]]
    if lost:
        raise CorruptArtifactError(f"{index}: {', '.join(lost[:3])} are not in the files that it names for them")
    return [found[file][name] for name, file in files.items()]


def header_of(tensors: Sequence[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """The beginning of a safetensors file, and where each tensor's data starts in it; ``tensors``: names, data types, shapes."""
    described: dict[str, Any] = {"__metadata__": dict(metadata)}
    starts, position = {}, 0
    for name, dtype, shape in tensors:
        length = int(np.prod(shape, dtype=np.int64)) * np.dtype(DTYPES[dtype]).itemsize
        described[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + length]}
        starts[name], position = position, position + length
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, {name: 8 + len(text) + start for name, start in starts.items()}
