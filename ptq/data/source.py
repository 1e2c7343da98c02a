"""From what the user calls DATA to batches: a folder of pictures, a file of arrays, or a function."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantizers.errors import CalibrationError, ConfigError

from .arrays import read_arrays
from .function import call_function
from .pictures import PictureFolder
from .preprocessing import Preprocessing
from .takes import Takes

__all__ = ["DataOptions", "open_data"]

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
ARRAYS = (".npy", ".npz")
SAMPLES, BATCH_SIZE = 256, 8


@dataclass(frozen=True)
class DataOptions:
    """How to read the data.

    Attributes:
        samples: how many to take; all, up to `SAMPLES`, when ``None``.
        batch_size: samples of a batch; that of the model where it is fixed, else `BATCH_SIZE`, when ``None``.
        preprocessing: from a picture to an input; only folders of pictures need it.
        given: names of picture options that the user gave, which other data refuses.
    """

    samples: int | None = None
    batch_size: int | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    given: tuple[str, ...] = ()


def open_data(text: str, inputs: Sequence[Takes], options: DataOptions) -> Iterable[Any]:
    """The batches that ``text`` names, each in the form that `ptq.calibrate` takes.

    Args:
        text: a folder of pictures, a ``.npy`` or ``.npz`` file, or ``module:function``.
        inputs: what the model takes.
        options: how to read.

    Returns:
        Batches: dicts by input for pictures and arrays, whatever the function yields else.

    Raises:
        CalibrationError: there is no such data, or it does not fit the model.
        ConfigError: an option does not fit the data or the model.
        MissingExtraError: Pillow is needed and not installed.
    """
    path, batch = Path(text), _batch_size(inputs, options)
    if path.is_dir():
        return PictureFolder(path, inputs, options.preprocessing, batch, options.samples or SAMPLES, asked=options.samples)
    is_function = not path.exists() and FUNCTION.fullmatch(text) is not None
    if not is_function and not path.is_file():
        raise CalibrationError(
            f"there is no data {text}: name a folder of pictures, a file .npy or .npz, or module:function"
            + (f" ({os.fspath(path.parent)} is no folder)" if not path.parent.is_dir() else "")
        )
    if options.given:
        raise ConfigError(f"{', '.join(options.given)} belong to a folder of pictures, and {text} is none; store samples preprocessed")
    if is_function:
        return call_function(text, options.samples)
    if path.suffix.lower() not in ARRAYS:
        raise CalibrationError(f"{text} is no data that can be read: name a folder of pictures, a file .npy or .npz, or module:function")
    return read_arrays(path, inputs, batch, options.samples or SAMPLES, asked=options.samples)


def _batch_size(inputs: Sequence[Takes], options: DataOptions) -> int:
    fixed = inputs[0].shape[0] if inputs and inputs[0].shape else None
    if options.batch_size is None:
        return BATCH_SIZE if fixed is None else fixed
    if fixed is not None and options.batch_size != fixed:
        raise ConfigError(f"--batch-size is {options.batch_size}, but the model takes batches of {fixed} only")
    return options.batch_size
