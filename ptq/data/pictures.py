"""Batches from a folder of pictures; those that cannot be read are named and skipped, up to a tenth of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError

from ..util.messages import last_line, warn
from .pillow import pillow
from .preprocessing import Preprocessing
from .takes import Takes

__all__ = ["PictureFolder"]

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MOST_UNREADABLE = 0.1
NAMED = 5
# what Pillow raises on files that are cut, or no pictures
BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, MemoryError, struct.error, zlib.error)


class PictureFolder:
    """The pictures of a folder as batches ``{input: float32 [n, channels, height, width]}``, read one by one when looped over.

    Pictures are taken in the order of their names, evenly spread over the folder where there are more than ``samples``.  Those of
    different sizes, where the model and the preprocessing leave sizes free, do not share a batch.

    Args:
        folder: pictures lie in it, or, where there are none, in folders below it.
        inputs: what the model takes: one input of pictures, channels first or last.
        preprocessing: from a picture to an input; sizes that it leaves free are those that the model fixes.
        batch_size: pictures of a batch at most; where the model takes no other number, a rest is left out.
        samples: how many pictures to read at most.
        asked: how many the user asked for: fewer are warned of.

    Raises:
        ConfigError: the model takes no pictures, or the preprocessing does not fit it.
        NoCalibrationDataError: there are no pictures.
        MissingExtraError: Pillow is not installed.
    """

    def __init__(
        self, folder: Path, inputs: Sequence[Takes], preprocessing: Preprocessing, batch_size: int, samples: int, asked: int | None = None
    ) -> None:
        pillow()
        self._folder, self._size, self._asked = folder, batch_size, asked
        self._input, self._channels, self._last = _picture_input(inputs)
        self._preprocessing = _fitting(self._input, self._channels, self._last, preprocessing)
        files = _files(folder)
        if not files:
            raise NoCalibrationDataError(f"{folder} holds no pictures ({', '.join(ENDINGS)})")
        self._files = [files[position * len(files) // samples] for position in range(samples)] if len(files) > samples else files

    def __len__(self) -> int:
        return -(-len(self._files) // self._size)

    def __iter__(self) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        """The batches.

        Raises:
            CalibrationError: more than a tenth of the pictures cannot be read.
            NoCalibrationDataError: they make no batch of the size that the model takes.
        """
        unreadable: list[str] = []
        pending: list[np.ndarray[Any, Any]] = []
        given = 0
        for file in self._files:
            try:
                picture = self._read(file)
            except (*BROKEN, pillow().DecompressionBombError) as error:
                unreadable.append(f"{file.relative_to(self._folder)} ({last_line(error)[:100]})")
                self._refuse_many(unreadable)
                continue
            if pending and pending[0].shape != picture.shape:
                if not self._fixed:
                    yield self._batch(pending)
                    given += len(pending)
                pending = []
            pending.append(picture)
            if len(pending) == self._size:
                yield self._batch(pending)
                given, pending = given + len(pending), []
        if pending and not self._fixed:
            yield self._batch(pending)
            given += len(pending)
        self._finish(given, unreadable)

    @property
    def _fixed(self) -> bool:
        return self._input.shape[0] is not None

    def _read(self, file: Path) -> np.ndarray[Any, Any]:
        with pillow().open(file) as opened:
            upright = pillow("ImageOps").exif_transpose(opened)
            values = self._preprocessing(upright, self._channels)
        return values if self._last else values.transpose(2, 0, 1)

    def _batch(self, pictures: Sequence[np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        return {self._input.name: self._input.cast(np.stack(pictures))}

    def _refuse_many(self, unreadable: Sequence[str]) -> None:
        if len(unreadable) > MOST_UNREADABLE * len(self._files):
            raise CalibrationError(
                f"{self._folder}: {len(unreadable)} of {len(self._files)} pictures cannot be read, more than {MOST_UNREADABLE:.0%}: "
                f"{_named(unreadable)}"
            )

    def _finish(self, given: int, unreadable: Sequence[str]) -> None:
        if unreadable:
            warn(f"{self._folder}: {len(unreadable)} of {len(self._files)} pictures cannot be read and were skipped: {_named(unreadable)}")
        if not given:
            raise NoCalibrationDataError(
                f"{self._folder}: its {len(self._files)} pictures make no batch of {self._size}, which the model takes"
            )
        if self._asked is not None and given < self._asked:
            warn(f"{self._folder} gives {given} samples, fewer than the {self._asked} that were asked for")


def _files(folder: Path) -> list[Path]:
    try:
        direct = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
        return direct or sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    except OSError as error:
        raise CalibrationError(f"{folder} cannot be read: {error}") from error


def _picture_input(inputs: Sequence[Takes]) -> tuple[Takes, int, bool]:
    """The input, its number of channels, and whether those come last."""
    shown = ", ".join(f"{item.name} {item.shown}" for item in inputs)
    if len(inputs) == 1 and len(inputs[0].shape) == 4 and "float" in inputs[0].dtype:
        first, last = inputs[0].shape[1], inputs[0].shape[3]
        if first in (1, 3) or (first is None and last not in (1, 3)):
            return inputs[0], first or 3, False
        if last in (1, 3):
            return inputs[0], last, True
    raise ConfigError(f"a folder of pictures fits a model that takes float pictures of 1 or 3 channels; this one takes {shown}")


def _fitting(item: Takes, channels: int, last: bool, preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing with sizes that the model fixes."""
    own = item.shape[1:3] if last else item.shape[2:4]
    sizes = []
    for name, asked, fixed in zip(("height", "width"), preprocessing.size, own, strict=True):
        if asked is not None and fixed is not None and asked != fixed:
            raise ConfigError(f"pictures are to have {name} {asked}, but the model takes {item.shown}")
        sizes.append(fixed if asked is None else asked)
    for name, numbers in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(numbers) not in (1, channels):
            raise ConfigError(f"{name} has {len(numbers)} numbers, but the model takes pictures of {channels} channels")
    height, width = sizes
    return replace(preprocessing, size=(height, width), keep_ratio_pad=preprocessing.keep_ratio_pad and None not in sizes)


def _named(texts: Sequence[str]) -> str:
    return "; ".join(texts[:NAMED]) + (f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else "")
