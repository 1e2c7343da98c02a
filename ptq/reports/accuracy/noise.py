"""How much of a stream of tensors is error: powers added up in pieces, without a float64 copy of every tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Noise", "decibel", "power"]

Array = npt.NDArray[Any]

# Outside these bounds float32 squares lose digits, or all of them.
_LEAST, _MOST = 1e-25, 1e25
_PIECE = 1 << 15


def power(array: Array) -> float:
    """The sum of squares, accurate to about 1e-6, infinite or NaN where the array is."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype == np.float32:
        with np.errstate(over="ignore"):
            total = math.fsum(float(np.dot(piece, piece)) for piece in (flat[n : n + _PIECE] for n in range(0, flat.size, _PIECE)))
        if _LEAST < total < _MOST:
            return total
    wide = flat.astype(np.float64)
    return float(np.dot(wide, wide))


def _difference(a: Array, b: Array) -> float:
    """The power of ``a - b``."""
    if a.dtype == b.dtype == np.float32:
        one, two = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
        pieces = range(0, one.size, _PIECE)
        total = math.fsum(float(np.dot(d, d)) for d in (one[n : n + _PIECE] - two[n : n + _PIECE] for n in pieces))
        if total == 0 or _LEAST < total < _MOST:
            return total
    return power(a.astype(np.float64) - b.astype(np.float64))


def decibel(signal: float, noise: float) -> float:
    """Ratio of two powers in dB: ``inf`` without noise, ``-inf`` where there is noise and no signal, or nothing is finite."""
    if noise == 0:
        return math.inf
    if not math.isfinite(signal) or not math.isfinite(noise) or signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)


class Noise:
    """Signal and error of one tensor over all batches.

    Attributes:
        signal, noise: sums of squares of the reference and of the difference.
        seen: how many tensors were added.
    """

    def __init__(self) -> None:
        self.signal = self.noise = 0.0
        self.seen = 0

    def add(self, reference: Array, other: Array, signal: float | None = None) -> None:
        """Adds a tensor; what differs in shape is left out.  ``signal``: the power of the reference where it is known."""
        if reference.shape != other.shape:
            return
        self.signal += power(reference) if signal is None else signal
        self.noise += _difference(reference, other)
        self.seen += 1

    @property
    def db(self) -> float | None:
        """The SQNR in dB; ``None`` when nothing was added."""
        return decibel(self.signal, self.noise) if self.seen else None
