"""The grids of a weight seen as a matrix of rows: one for each block of a row's features, ``real = (code - zero_point) * scale``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError, NonFiniteError, ShapeError
from quantizers.grids.qparams import check_num_bits
from quantizers.statistics.arrays import FloatArray

__all__ = ["BlockGrid", "as_blocks", "block_count"]

SMALLEST = float(np.finfo(np.float32).tiny)


def block_count(features: int, group_size: int | None) -> int:
    """Number of blocks of a row; the last may be shorter, and without a size the row is one block."""
    return 1 if group_size is None else -(-features // group_size)


def as_blocks(rows: npt.NDArray[Any], group_size: int | None, fill: float = 0.0) -> npt.NDArray[Any]:
    """``[C, F]`` as ``[C, B, group_size]``, a shorter last block filled up."""
    features = rows.shape[1]
    size, count = group_size or features, block_count(features, group_size)
    padded = np.pad(rows, ((0, 0), (0, count * size - features)), constant_values=fill)
    return padded.reshape(rows.shape[0], count, size)


@dataclass(frozen=True, eq=False)
class BlockGrid:
    """Integer grids ``0..2**num_bits - 1`` of the blocks of rows.

    ``scale`` float32, not zero, may be negative (the most negative code then stands for the largest number); ``zero_point`` int32; both
    of shape ``[C, B]``, or ``[1, 1]`` for one grid in all.  ``group_size``: features of a block, ``None`` for whole rows.

    Raises:
        ConfigError: the parts do not fit together.
        NonFiniteError: a scale is NaN or Inf.
    """

    scale: FloatArray
    zero_point: npt.NDArray[np.int32]
    num_bits: int
    group_size: int | None = None

    def __post_init__(self) -> None:
        check_num_bits(self.num_bits)
        scale, zero_point = np.array(self.scale, np.float32), np.array(self.zero_point, np.int32)
        if not np.isfinite(scale).all():
            raise NonFiniteError("the scale of a block is NaN or Inf; check the weight that it came from")
        if scale.ndim != 2 or zero_point.shape != scale.shape or (scale == 0).any():
            raise ConfigError(
                f"blocks need scales that are not zero and zero points, both [C, B], got {scale.shape} and {zero_point.shape}"
            )
        if ((zero_point < 0) | (zero_point > self.quant_max)).any():
            raise ConfigError(f"the zero point of a block must lie in [0, {self.quant_max}]")
        if self.group_size is not None and (type(self.group_size) is not int or self.group_size < 1):
            raise ConfigError(f"group_size must be a positive int or None, got {self.group_size!r}")
        for name, array in (("scale", scale), ("zero_point", zero_point)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def quant_max(self) -> int:
        """Largest code."""
        return (1 << self.num_bits) - 1

    @property
    def middle(self) -> int:
        """The zero point of a symmetric grid."""
        return 1 << (self.num_bits - 1)

    @property
    def is_symmetric(self) -> bool:
        """Whether every zero point is in the middle."""
        return bool((self.zero_point == self.middle).all())

    @classmethod
    def symmetric(cls, scale: npt.ArrayLike, num_bits: int, group_size: int | None = None) -> BlockGrid:
        """The grid of these scales with zero points in the middle."""
        scales = np.asarray(scale, np.float32)
        return cls(scales, np.full(scales.shape, 1 << (num_bits - 1), np.int32), num_bits, group_size)

    def quantize(self, rows: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Codes of ``rows``, float ``[C, F]``: ``clip(rint(x / scale) + zero_point)`` in float32, halves to even.

        Raises:
            NonFiniteError: a value is NaN.
            ShapeError: the rows have another number of blocks.
        """
        values = np.asarray(rows, np.float32)
        scale, zero_point = self._spread(self.scale, values.shape), self._spread(self.zero_point, values.shape)
        if np.isnan(values).any():
            raise NonFiniteError("NaN cannot be quantized")
        with np.errstate(over="ignore"):
            codes = np.rint(values / scale) + zero_point.astype(np.float32)
        return np.asarray(np.clip(codes, 0, self.quant_max), np.int32)

    def dequantize(self, codes: npt.ArrayLike) -> FloatArray:
        """Real numbers, float32 ``[C, F]``, of codes; raises ``ShapeError`` as `quantize`."""
        values = np.asarray(codes)
        zero_point = self._spread(self.zero_point, values.shape)
        return np.asarray((values - zero_point).astype(np.float32) * self._spread(self.scale, values.shape), np.float32)

    def columns(self, start: int, stop: int) -> BlockGrid:
        """The grids of one block alone, features ``start`` to ``stop``, which must lie within it."""
        block = 0 if self.group_size is None else start // self.group_size
        if self.group_size is not None and (stop - 1) // self.group_size != block:
            raise ShapeError(f"features {start} to {stop} are more than one block of {self.group_size}")
        place = slice(block, block + 1) if self.scale.shape[1] > 1 else slice(0, 1)
        return BlockGrid(self.scale[:, place], self.zero_point[:, place], self.num_bits, None)

    def _spread(self, values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """One number for each feature, in a shape that broadcasts over ``[C, F]``."""
        if len(shape) != 2 or values.shape not in ((1, 1), (shape[0], block_count(shape[1], self.group_size))):
            raise ShapeError(f"{values.shape} blocks of {self.group_size} features do not fit rows of shape {list(shape)}")
        if values.shape[1] == 1:
            return values
        return np.repeat(values, self.group_size or shape[1], axis=1)[:, : shape[1]]
