"""Sums of float32 values that do not depend on the order of the terms, because they are kept as integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from quantizers.statistics.arrays import FloatArray

__all__ = ["exact_mean", "exact_sum"]

# Every finite float32 is a whole multiple of 2**-149, and its mantissa has 24 bits.
_FRACTION_BITS = 149
_MANTISSA_BITS = 24
_FEW = 64
# A float64 sum of this many 24-bit integers is still exact.
_CHUNK = 1 << 28


def exact_sum(values: FloatArray) -> int:
    """Sum of finite float32 ``values`` ``[n]`` in units of ``2**-149``, exact."""
    wide = values.astype(np.float64)
    if wide.size <= _FEW:
        # Below 2**277, so the product is exact in float64, and so is the conversion to int.
        return sum(map(int, (wide * 2.0**_FRACTION_BITS).tolist()))
    total = 0
    for start in range(0, wide.size, _CHUNK):
        mantissas, exponents = np.frexp(wide[start : start + _CHUNK])
        first = int(exponents.min())
        sums = np.bincount(exponents - first, weights=np.ldexp(mantissas, _MANTISSA_BITS))
        shift = first + _FRACTION_BITS - _MANTISSA_BITS
        for index, part in enumerate(map(int, sums.tolist())):
            # A denormal's mantissa ends in zeros, so a shift to the right loses nothing.
            bits = shift + index
            total += part << bits if bits >= 0 else part >> -bits
    return total


def exact_mean(total: int, count: int) -> float:
    """``total / count`` for a ``total`` made of `exact_sum` results, correctly rounded to float64; ``count`` at least 1."""
    return float(Fraction(total, count << _FRACTION_BITS))
