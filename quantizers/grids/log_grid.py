"""The logarithmic grid of embeddings, as in PaddleSlim's last version: magnitudes at eighths of powers of two.

A code k from 1 to 127 stands for ``2**(base + k / 8)`` and ``k - 128``, from -127 to -1, for its negative; 0 stands for zero, and -128 for
nothing.  The largest magnitude is kept (code 127), the nearest is taken, and what is below the smallest, 15.75 powers of two further down,
becomes zero or that smallest one, whichever is nearer.  So the relative error is at most ``(2**(1/8) - 1) / (2**(1/8) + 1)``, 4.4 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantizers.errors import NonFiniteError
from quantizers.statistics.arrays import FloatArray

__all__ = ["LOG_CODES", "LogGrid"]

LOG_CODES = 127
STEPS_PER_OCTAVE = 8


@dataclass(frozen=True)
class LogGrid:
    """``table``: the number of every code, float32 ``[256]``, code c at index ``c + 128``."""

    table: FloatArray

    @classmethod
    def of(cls, largest: float) -> LogGrid:
        """The grid whose largest number is that; of zeros where it is 0.

        Raises:
            NonFiniteError: it is NaN or Inf.
        """
        if not np.isfinite(largest):
            raise NonFiniteError("the weight holds NaN or Inf; it cannot be quantized")
        magnitudes = float(abs(largest)) * 2.0 ** ((np.arange(1, LOG_CODES + 1) - LOG_CODES) / STEPS_PER_OCTAVE)
        table = np.zeros(256, np.float32)
        table[129:] = magnitudes
        table[1:128] = -magnitudes  # code k - 128 is at index k
        return cls(table)

    def quantize(self, x: npt.ArrayLike) -> npt.NDArray[np.int8]:
        """The code of the nearest number of the grid, int8, shape of ``x``.

        Raises:
            NonFiniteError: a value is NaN or Inf.
        """
        values = np.asarray(x, np.float32)
        if not np.isfinite(values).all():
            raise NonFiniteError("the weight holds NaN or Inf; it cannot be quantized")
        magnitudes = np.concatenate([[0.0], self.table[129:].astype(np.float64)])
        borders = (magnitudes[1:] + magnitudes[:-1]) / 2
        steps = np.searchsorted(borders, np.abs(values.astype(np.float64)), side="right")
        steps = np.where(self.table[-1] > 0, steps, 0)
        return np.where((values < 0) & (steps > 0), steps - 128, steps).astype(np.int8)

    def dequantize(self, codes: npt.ArrayLike) -> FloatArray:
        """The numbers, float32, of int8 codes."""
        return self.table[np.asarray(codes).astype(np.int32) + 128]
