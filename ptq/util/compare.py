"""How far two answers are apart."""

from __future__ import annotations

import numpy as np

__all__ = ["largest_difference", "sqnr_db"]


def sqnr_db(expected: np.ndarray, answer: np.ndarray) -> float:
    """Power of ``expected`` over that of the difference, in dB; ``inf`` when equal, ``-inf`` when only one of them is finite somewhere."""
    a, b = expected.astype(np.float64), answer.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return float("-inf")
    noise, power = np.square(a[finite] - b[finite]).sum(), np.square(a[finite]).sum()
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(power / noise)) if power else float("-inf")


def largest_difference(answer: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference over the largest finite magnitude of ``expected``; infinite where only one of them is finite."""
    a, b = answer.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(np.isfinite(a), finite):
        return float("inf")
    difference = np.abs(a[finite] - b[finite]).max(initial=0.0)
    largest = np.abs(b[finite]).max(initial=0.0)
    return float(difference / largest) if largest else float(difference)
