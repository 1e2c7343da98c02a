"""Batches from ``.npy`` and ``.npz`` files: samples along the first axis."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import CalibrationError, NoCalibrationDataError, ShapeError

from ..util.messages import last_line, warn
from .takes import Takes

__all__ = ["ArrayBatches", "read_arrays"]

Array = np.ndarray[Any, Any]


class ArrayBatches:
    """Batches of arrays with one first axis; a dict by input each."""

    def __init__(self, arrays: Mapping[str, Array], inputs: Sequence[Takes], count: int, batch_size: int) -> None:
        self._arrays, self._inputs, self._count, self._size = arrays, inputs, count, batch_size

    def __len__(self) -> int:
        return -(-self._count // self._size)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for start in range(0, self._count, self._size):
            rows = slice(start, min(start + self._size, self._count))
            yield {item.name: item.cast(self._arrays[item.name][rows]) for item in self._inputs}


def read_arrays(path: Path, inputs: Sequence[Takes], batch_size: int, samples: int, asked: int | None = None) -> ArrayBatches:
    """The first samples of a file.

    Args:
        path: a ``.npy`` file for a model of one input, or a ``.npz`` file with an array for each input by name (one array of any name
            for a model of one input); other arrays in it, such as labels, are left alone.
        inputs: what the model takes.
        batch_size: samples of a batch.  Where the model takes no other number, a rest is left out.
        samples: how many to take at most.
        asked: how many the user asked for: fewer are warned of.

    Raises:
        CalibrationError: the file cannot be read, holds Python objects, or lacks an input; ``ShapeError``: the arrays do not fit the
            model or each other; ``UnsupportedDtypeError``: they hold another kind of numbers; ``NoCalibrationDataError``: no samples.
    """
    arrays = _chosen(path, _opened(path), inputs)
    for item in inputs:
        item.check_samples(arrays[item.name], f"{path}{_named(path, item.name)}")
    counts = {item.name: len(arrays[item.name]) for item in inputs}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ShapeError(f"{path} has different numbers of samples: {shown}")
    found = next(iter(counts.values()))
    count = min(found, samples)
    if inputs[0].shape[0] is not None:
        count -= count % batch_size
    if not count:
        raise NoCalibrationDataError(f"{path} holds {found} samples, which make no batch of {batch_size}")
    if asked is not None and count < asked:
        warn(f"{path} gives {count} samples, fewer than the {asked} that were asked for")
    return ArrayBatches(arrays, inputs, count, batch_size)


def _opened(path: Path) -> dict[str, Array]:
    try:
        found = np.load(path, mmap_mode="r" if path.suffix.lower() == ".npy" else None, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        objects = "allow_pickle" in str(error) or "Python objects" in str(error)
        reason = "it holds Python objects, which are never loaded" if objects else last_line(error)[:200]
        raise CalibrationError(f"{path} cannot be read as arrays: {reason}") from error


def _chosen(path: Path, arrays: dict[str, Array], inputs: Sequence[Takes]) -> dict[str, Array]:
    """The arrays by the names of the inputs."""
    names = [item.name for item in inputs]
    if len(names) == 1 and len(arrays) == 1:
        return {names[0]: next(iter(arrays.values()))}
    if "" in arrays:
        raise CalibrationError(f"{path} holds one array, but the model takes {', '.join(names)}: store them by name in a .npz file")
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CalibrationError(
            f"{path} holds {', '.join(arrays) or 'nothing'}, but the model takes {', '.join(names)}: {', '.join(missing)} missing"
        )
    return {name: arrays[name] for name in names}


def _named(path: Path, name: str) -> str:
    return f": {name}" if path.suffix.lower() == ".npz" else ""
