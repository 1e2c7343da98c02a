"""Codes of few bits, several in a byte, the first in the lowest bits: the layout of ONNX Runtime's MatMulNBits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["container_bits", "pack", "unpack"]


def container_bits(num_bits: int) -> int:
    """Bits that a code is stored in: 2, 4, 8 or 16."""
    return next(width for width in (2, 4, 8, 16) if num_bits <= width)


def pack(codes: npt.NDArray[Any], num_bits: int) -> npt.NDArray[Any]:
    """``[C, n]`` codes, ``0..2**num_bits - 1``, as ``[C, ceil(n / k)]`` bytes (uint8), ``k`` codes in each, zeros behind the last.

    Above 8 bits as int16, less 32768: Paddle has no uint16.
    """
    width = container_bits(num_bits)
    if width == 16:
        return (codes.astype(np.int32) - 32768).astype(np.int16)
    each = 8 // width
    padded = np.pad(codes.astype(np.uint8), ((0, 0), (0, -codes.shape[1] % each)))
    packed = np.zeros((codes.shape[0], padded.shape[1] // each), np.uint8)
    for position in range(each):
        packed |= padded[:, position::each] << (position * width)
    return packed


def unpack(packed: npt.NDArray[Any], num_bits: int, count: int) -> npt.NDArray[np.int32]:
    """The first ``count`` codes of each row of what `pack` made, int32 ``[C, count]``."""
    width = container_bits(num_bits)
    if width == 16:
        return packed.astype(np.int32)[:, :count] + 32768
    shifts = np.arange(0, 8, width)
    codes = (packed[:, :, None].astype(np.int32) >> shifts) & ((1 << width) - 1)
    return codes.reshape(packed.shape[0], -1)[:, :count]
