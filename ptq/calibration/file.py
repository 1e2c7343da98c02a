"""The calibration file: NumPy's own ``.npz`` layout with a JSON header and a checksum, byte for byte the same for the same content.

``header.json`` holds the version, the layers and all numbers but the histograms; ``000000.npy`` and so on hold those in the header's
order; ``checksum`` is the SHA-256 of all of them.  Members are stored without compression and with a fixed date.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import ChannelRanges, TensorStatistics
from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, QuantizationError

from ..util.whole_file import write_whole
from .call_spec import Node, check_call
from .checks import DTYPES, parse_array, parse_channels, parse_statistics, require

__all__ = [
    "SIDES",
    "Contents",
    "LayerStatistics",
    "Progress",
    "as_path",
    "from_bytes",
    "read_contents",
    "remove_leftovers",
    "to_bytes",
    "write_contents",
]

FORMAT = "ptq-calibration"
VERSION = 2  # 1 had no ranges of channels; a file without any is written as 1
SIDES = ("input", "output")
_HEADER, _CHECKSUM = "header.json", "checksum"
_MAX_BYTES = 4 << 30
# What parsing of damaged text, numbers and headers may raise.
_UNREADABLE = (ArithmeticError, EOFError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError, QuantizationError)


@dataclass
class LayerStatistics:
    """The statistics of one layer: its class's name, one `TensorStatistics` per tensor of each side, ranges of the input's channels."""

    class_name: str
    input: list[TensorStatistics] = field(default_factory=list)
    output: list[TensorStatistics] = field(default_factory=list)
    channels: ChannelRanges | None = None

    def sides(self) -> dict[str, list[TensorStatistics]]:
        """Both sides by name."""
        return {side: getattr(self, side) for side in SIDES}


@dataclass(frozen=True)
class Progress:
    """How far an unfinished calibration got: a digest of the model's state, and one of each batch that was done."""

    model: str
    batches: tuple[str, ...]


@dataclass
class Contents:
    """What a file holds.  ``input_spec``: see `ptq.calibration.call_spec`; ``progress`` is ``None`` once the calibration is finished."""

    layers: dict[str, LayerStatistics]
    input_spec: Node | None = None
    progress: Progress | None = None


def to_bytes(contents: Contents) -> bytes:
    """The file's content."""
    layers, arrays = [], []
    for name in sorted(contents.layers):
        layer = contents.layers[name]
        entry: dict[str, Any] = {"name": name, "class": layer.class_name}
        for side, tensors in layer.sides().items():
            entry[side] = [_meta(statistics, contents.progress is not None) for statistics in tensors]
            arrays += [statistics.histogram.counts for statistics in tensors]
        if layer.channels is not None:
            entry["channels"] = {"low": _floats(layer.channels.low), "high": _floats(layer.channels.high)}
        layers.append(entry)
    progress = contents.progress
    header = {
        "format": FORMAT,
        "version": VERSION if any("channels" in entry for entry in layers) else 1,
        "layers": layers,
        "input_spec": contents.input_spec,
        "progress": None if progress is None else {"model": progress.model, "batches": list(progress.batches)},
    }
    members = {_HEADER: (json.dumps(header, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")}
    members.update((_array_name(index), _npy(counts)) for index, counts in enumerate(arrays))
    members[_CHECKSUM] = _digest(members).encode("ascii")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # otherwise it names the system that wrote it
            info.external_attr = 0o644 << 16
            archive.writestr(info, members[name])
    return stream.getvalue()


def from_bytes(data: bytes, origin: str) -> Contents:
    """The contents of a file; ``origin`` names it in messages.

    Raises:
        ArtifactError: it is not a calibration, or one of a newer version.
        CorruptArtifactError: it is damaged.
    """
    members = _members(data, origin)
    if _HEADER not in members or _CHECKSUM not in members:
        raise ArtifactError(f"{origin} is not a calibration file: save one with Calibration.save, or with ptq.calibrate(resume=...)")
    try:
        header = json.loads(members[_HEADER].decode("ascii"), parse_constant=_no_constant)
        require(isinstance(header, dict) and header.get("format") == FORMAT, "its header is another program's")
        version = header.get("version")
        require(type(version) is int and version >= 1, f"its version is {version!r}")
        if version > VERSION:
            raise ArtifactError(f"{origin} has version {version}, this paddle-ptq reads up to {VERSION}: upgrade paddle-ptq")
        recorded = members.pop(_CHECKSUM)
        require(recorded == _digest(members).encode("ascii"), "its checksum does not match")
        return _contents(header, members)
    except ArtifactError:
        raise
    except (
        ArithmeticError,
        EOFError,
        LookupError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
        QuantizationError,
    ) as error:
        raise _corrupt(origin, error) from error


def read_contents(path: str | os.PathLike[str]) -> Contents:
    """Reads and checks a file; raises as `from_bytes`, and ``ArtifactError`` when there is no such file or it cannot be read."""
    name = as_path(path)
    try:
        with open(name, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
                raise ArtifactError(f"{name} is not a calibration file: not a plain file of at most {_MAX_BYTES >> 30} GiB")
            data = file.read(status.st_size)  # what is asked for is allocated at once
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error
    return from_bytes(data, name)


def write_contents(path: str | os.PathLike[str], contents: Contents) -> None:
    """Writes a file, whole or not at all.

    Raises:
        ArtifactError: it cannot be written.
    """
    target = Path(as_path(path))
    data = to_bytes(contents)
    try:
        write_whole(target, data)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{target}: the calibration cannot be written: {error}") from error


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Removes temporary files that a killed process left beside ``path``."""
    target = Path(as_path(path))
    prefix, suffix = f".{target.name}.", ".tmp"
    try:
        names = os.listdir(target.parent)
    except (OSError, ValueError):
        return  # no folder yet, or one that reading and writing will complain about
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix) and len(name) == len(prefix) + 12 + len(suffix):
            with contextlib.suppress(OSError):  # it stays; whether the folder can be written to will show
                target.with_name(name).unlink()


def as_path(path: Any) -> str:
    """``path`` as a string; raises ``ConfigError`` for what is no path."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str) or not os.path.basename(os.fspath(path)):
        raise ConfigError(f"a calibration's path must be the path of a file, got {path!r}")
    return os.fspath(path)


def _meta(statistics: TensorStatistics, unfinished: bool) -> dict[str, Any]:
    meta: dict[str, Any] = statistics.state()["meta"]
    # A refused batch never gets here, and the number of batches depends on how the data was cut.
    del meta["poisoned"]
    if not unfinished:
        del meta["batches"]
    # Which of -0.0 and 0.0 is the extreme depends on which came first.
    return {key: value + 0.0 if isinstance(value, float) else value for key, value in meta.items()}


def _floats(values: npt.NDArray[Any]) -> list[float]:
    """float32 values as JSON numbers, -0.0 as 0.0: which of them is the extreme depends on which came first."""
    return [float(value) + 0.0 for value in values]


def _array_name(index: int) -> str:
    return f"{index:06d}.npy"


def _npy(counts: npt.NDArray[np.int64]) -> bytes:
    """A ``.npy`` file of the smallest dtype; written here since NumPy's padding of the header differs between its versions."""
    largest = int(counts.max())
    dtype = next(np.dtype(name) for name in DTYPES if largest <= np.iinfo(name).max)
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {counts.shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii") + counts.astype(dtype).tobytes()


def _digest(members: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name}\0{len(members[name])}\0".encode())
        digest.update(members[name])
    return digest.hexdigest()


def _members(data: bytes, origin: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            plain = all(info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 for info in infos)
            require(plain and sum(info.file_size for info in infos) <= len(data), "its members are not stored as a calibration's are")
            require(len({info.filename for info in infos}) == len(infos), "a member is there twice")
            return {info.filename: archive.read(info) for info in infos}
    except Exception as error:  # on damaged input zipfile raises whatever its parser stumbles over
        raise _corrupt(origin, error) from error


def _contents(header: Mapping[str, Any], members: Mapping[str, bytes]) -> Contents:
    require(header.keys() == {"format", "version", "layers", "input_spec", "progress"}, "its header has other fields")
    progress = _progress(header["progress"])
    if header["input_spec"] is not None:
        check_call(header["input_spec"])
    require(isinstance(header["layers"], list), "its header lists no layers")
    arrays = iter(sorted(name for name in members if name != _HEADER))
    layers: dict[str, LayerStatistics] = {}
    previous: str | None = None
    for entry in header["layers"]:
        require(isinstance(entry, dict) and entry.keys() - {"channels"} == {"name", "class", *SIDES}, "a layer's entry has other fields")
        require(_is_text(entry["name"]) and _is_text(entry["class"]), "a layer's name is no text")
        require(previous is None or entry["name"] > previous, "the layers are not in order")
        previous = entry["name"]
        tensors = {side: list(_tensors(entry[side], members, arrays, progress is not None)) for side in SIDES}
        require(any(tensors.values()), "a layer has no tensor")
        layers[entry["name"]] = LayerStatistics(entry["class"], **tensors, channels=parse_channels(entry.get("channels")))
    require(next(arrays, None) is None, "there are more arrays than tensors")
    return Contents(layers, header["input_spec"], progress)


def _tensors(metas: Any, members: Mapping[str, bytes], arrays: Iterator[str], unfinished: bool) -> Iterator[TensorStatistics]:
    require(isinstance(metas, list), "a layer's tensors are no list")
    for meta in metas:
        name = next(arrays, None)
        require(name is not None, "there are fewer arrays than tensors")
        yield parse_statistics(meta, parse_array(members[str(name)]), unfinished)


def _progress(value: Any) -> Progress | None:
    if value is None:
        return None
    require(isinstance(value, dict) and value.keys() == {"model", "batches"} and _is_text(value["model"]), "its progress is malformed")
    require(isinstance(value["batches"], list) and all(map(_is_text, value["batches"])), "its progress is malformed")
    return Progress(value["model"], tuple(value["batches"]))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.encode("utf-8") or not value)  # encode refuses halves of surrogate pairs


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that a calibration holds")


def _corrupt(origin: str, error: Exception) -> CorruptArtifactError:
    what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return CorruptArtifactError(f"{origin} is no calibration file, or a damaged one ({what}); calibrate again, or restore it from a copy")
