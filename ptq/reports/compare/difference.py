"""How far two streams of answers are apart, added up batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantizers.errors import MismatchError

from .report import Difference

__all__ = ["Apart", "agreement_axis"]

Array = np.ndarray[Any, Any]


def agreement_axis(shape: tuple[int, ...]) -> int | None:
    """Along which axis the largest value is an answer: of classes ``[n, c]``, sequences ``[n, t, c]``, maps ``[n, c, h, w]``."""
    axis = {2: 1, 3: 2, 4: 1}.get(len(shape))
    return axis if axis is not None and shape[axis] > 1 else None


class Apart:
    """Adds up the difference of one output, or one layer's result, over batches; ``answers``: whether largest values mean something."""

    def __init__(self, name: str, answers: bool = False) -> None:
        self.name, self._are_answers = name, answers
        self._power = self._noise = self._difference = self._largest = 0.0
        self._alike = self._answers = 0
        self._finite = True
        self._shape: tuple[int, ...] = ()

    def add(self, reference: Array, other: Array) -> None:
        """One batch.

        Raises:
            MismatchError: the two are of different shapes.
        """
        if reference.shape != other.shape:
            what = "output" if self._are_answers else "layer"
            raise MismatchError(f"{what} {self.name} is {list(reference.shape)} in one model and {list(other.shape)} in the other")
        axis = agreement_axis(reference.shape) if self._are_answers and reference.dtype.kind == "f" else None
        if axis is not None:
            alike = reference.argmax(axis) == other.argmax(axis)
            self._alike, self._answers = self._alike + int(alike.sum()), self._answers + alike.size
        self._shape = reference.shape
        a, b = reference.astype(np.float64), other.astype(np.float64)
        finite = np.isfinite(a)
        if not np.array_equal(finite, np.isfinite(b)):
            self._finite = False
            return
        a, b = a[finite], b[finite]
        self._power, self._noise = self._power + float(np.square(a).sum()), self._noise + float(np.square(a - b).sum())
        self._difference = max(self._difference, float(np.abs(a - b).max(initial=0.0)))
        self._largest = max(self._largest, float(np.abs(a).max(initial=0.0)))

    def finished(self) -> Difference:
        """The sum of all batches."""
        if not self._finite:
            sqnr, difference = float("-inf"), float("inf")
        else:
            difference = self._difference
            sqnr = float("inf") if self._noise == 0 else float("-inf")
            if self._noise and self._power:
                sqnr = float(10 * np.log10(self._power / self._noise))
        share = self._alike / self._answers if self._answers else None
        return Difference(self.name, self._shape[1:], sqnr, difference, self._largest, share)
