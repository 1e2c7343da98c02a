"""Batches from a function of the user's, named as ``module:function``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import paddle

from quantizers.errors import CalibrationError

from ..util.messages import last_line, warn
from ..util.nests import leaves

__all__ = ["call_function"]


def call_function(name: str, samples: int | None = None) -> Iterable[Any]:
    """The batches of ``module:function``, called without arguments; the working folder is looked in too.

    Args:
        name: a module, a colon, and a function in it that returns an iterable of batches, or yields them.
        samples: stop after the batch that makes that many; all batches when ``None``.

    Raises:
        CalibrationError: the module or the function is missing or fails, or what it returns cannot be looped over.
    """
    module, _, path = name.partition(":")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found: Any = _guarded(name, lambda: importlib.import_module(module))
    for part in path.split("."):
        if not hasattr(found, part):
            raise CalibrationError(f"{name}: {module} has no {path}")
        found = getattr(found, part)
    if not callable(found):
        raise CalibrationError(f"{name} is a {type(found).__name__}, not a function; name one that yields batches")
    batches = _guarded(name, found)
    if isinstance(batches, (str, bytes, np.ndarray, paddle.Tensor)) or not hasattr(batches, "__iter__"):
        raise CalibrationError(f"{name} returns a {type(batches).__name__}; it must return batches to loop over, or yield them")
    return _Batches(name, batches, samples)


class _Batches:
    """The batches, errors of the user's code named."""

    def __init__(self, name: str, batches: Any, samples: int | None) -> None:
        self._name, self._batches, self._samples = name, batches, samples

    def __iter__(self) -> Iterator[Any]:
        batches, count = iter(self._batches), 0
        while self._samples is None or count < self._samples:
            batch = _guarded(self._name, lambda: next(batches, _END))
            if batch is _END:
                break
            count += _items(batch)
            yield batch
        if self._samples is not None and 0 < count < self._samples:
            warn(f"{self._name} yields {count} samples, fewer than the {self._samples} that were asked for")


_END = object()


def _items(batch: Any) -> int:
    first = next((item for item in leaves(batch) if isinstance(item, (np.ndarray, paddle.Tensor))), None)
    return int(first.shape[0]) if first is not None and len(first.shape) else 1


def _guarded(name: str, action: Any) -> Any:
    try:
        return action()
    except CalibrationError:
        raise
    except Exception as error:  # the user's code: anything may come out of it
        raise CalibrationError(f"{name} raises {type(error).__name__}: {last_line(error)}") from error
