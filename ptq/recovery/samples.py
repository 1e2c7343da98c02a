"""Calibration samples for recoveries: kept within bounds, and divided into those that a recovery fits on and those that judge it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from quantizers.errors import NoCalibrationDataError

from ..calibration.seen import Call, Sample
from ..util.nests import map_tensors, tensors_in

__all__ = ["JUDGES", "arrays_of", "divide", "keep", "pieces", "size_of", "spread"]

SHARE = 0.25
JUDGES = 16
"""So few samples, at least, judge a recovery."""


def keep(calls: Iterable[Call], max_bytes: int) -> list[Sample]:
    """Copies of the calls' tensors, of as many calls as fit the bytes, at least one.

    Raises:
        NoCalibrationDataError: there is no call.
    """
    found: list[Sample] = []
    size = 0
    for call in calls:
        size += sum(tensor.size * tensor.element_size() for tensor in tensors_in(call))
        if found and size > max_bytes:
            break
        found.append(Sample.of(call))
    if not found:
        raise NoCalibrationDataError("there are no calibration samples to recover accuracy with")
    return found


def size_of(sample: Sample) -> int:
    """How many samples one call has: the first dimension that all of its tensors share, else 1."""
    sizes = {tensor.shape[0] if tensor.ndim else 0 for tensor in tensors_in(sample.call())}
    return sizes.pop() if len(sizes) == 1 and 0 not in sizes else 1


def divide(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """What to fit on and what to judge by: of every call its last samples are held back, a quarter of all and `JUDGES` at least.

    With fewer than twice as many samples half of them are held back; a single one serves for both.
    """
    sizes = [size_of(sample) for sample in samples]
    total = sum(sizes)
    wanted = min(max(JUDGES, math.ceil(total * SHARE)), total // 2)
    if not wanted:
        return list(samples), list(samples)
    fit, held = [], []
    seen = taken = 0
    for sample, size in zip(samples, sizes, strict=True):
        seen += size
        count = round(wanted * seen / total) - taken
        taken += count
        if count < size:
            fit.append(_part(sample, 0, size - count) if count else sample)
        if count:
            held.append(_part(sample, size - count, size) if count < size else sample)
    return fit, held


def _part(sample: Sample, start: int, stop: int) -> Sample:
    return Sample.of(map_tensors(lambda tensor: tensor[start:stop], sample.call()))


def arrays_of(answer: Any) -> list[np.ndarray[Any, Any]]:
    """The floating-point tensors of an answer as float32 arrays; the others say nothing about rounding."""
    tensors = tensors_in(answer if isinstance(answer, (tuple, list, dict)) else (answer,))
    return [tensor.astype("float32").numpy() for tensor in tensors if tensor.is_floating_point()]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Of calls so many, evenly spread, that they have ``count`` samples at least; all of them where that is 0."""
    sizes = [size_of(sample) for sample in samples]
    step = max(1, sum(sizes) // count) if count else 1
    return list(samples[::step])


def pieces(sample: Sample, size: int) -> list[Sample]:
    """A call in calls of at most so many samples."""
    total = size_of(sample)
    return [sample] if total <= size else [_part(sample, start, min(start + size, total)) for start in range(0, total, size)]
