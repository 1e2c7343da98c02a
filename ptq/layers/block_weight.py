"""Weights whose integers lie on grids of blocks, as a twin stores them: codes packed into bytes, row by row, and how they are unpacked.

The unpacking consists of plain operations on int32, division and remainder, which a saved program and the converter to ONNX have too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from quantizers.errors import ConfigError
from quantizers.grids.block_grid import BlockGrid, block_count
from quantizers.grids.packing import container_bits, pack

__all__ = ["BlockLayout", "BlockWeight", "matrix_rows"]


def matrix_rows(weight: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """A weight as ``[C, F]``, a row for each index of ``axis``."""
    return np.ascontiguousarray(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1)


@dataclass(frozen=True)
class BlockLayout:
    """Where a stored weight's numbers are.

    ``shape``, ``axis``: of the float weight, and of its rows in it; ``group_size``: ``None`` for whole rows; ``is_symmetric``: zero
    points in the middle, which are not stored; ``has_factor``: the features were multiplied before they were rounded.
    """

    shape: tuple[int, ...]
    axis: int
    num_bits: int
    group_size: int | None
    is_symmetric: bool
    has_factor: bool = False

    @property
    def buffers(self) -> list[str]:
        """Endings of the names of what is stored, in the order of the arguments of `rows`; ``""`` for what is not."""
        return ["quantized", "scale", "" if self.is_symmetric else "zero_point", "factor" if self.has_factor else ""]

    @property
    def features(self) -> int:
        """Numbers in a row."""
        return int(np.prod(self.shape)) // max(self.shape[self.axis], 1)

    @property
    def blocks(self) -> int:
        """Blocks of a row."""
        return block_count(self.features, self.group_size)

    @property
    def per_byte(self) -> int:
        """Codes in one stored integer."""
        return max(8 // container_bits(self.num_bits), 1)

    @property
    def offset(self) -> int:
        """What a code is more than the integer that it is unpacked to."""
        return {8: 128, 16: 32768}.get(container_bits(self.num_bits), 0)

    @property
    def middle(self) -> float:
        """The zero point of a symmetric grid, less the offset."""
        return float((1 << (self.num_bits - 1)) - self.offset)

    @property
    def stored_block(self) -> int:
        """Codes of a block as it is stored, filled up to whole bytes."""
        size = self.group_size or self.features
        return size + -size % self.per_byte

    def rows(
        self,
        packed: paddle.Tensor,
        scale: paddle.Tensor,
        zero_point: paddle.Tensor | None = None,
        factor: paddle.Tensor | None = None,
    ) -> paddle.Tensor:
        """Real numbers, float32 ``[.., F]``, of stored rows ``[.., bytes]`` with their scales and zero points ``[.., B]``."""
        leading = [0] * (packed.ndim - 1)
        codes = _codes(packed.astype("int32"), self)
        codes = codes.reshape([*leading, self.blocks, self.stored_block]).astype("float32")
        # a tensor: a number Paddle writes as another operation
        middle = paddle.full([], self.middle, "float32") if zero_point is None else zero_point.astype("float32").unsqueeze(-1)
        real = ((codes - middle) * scale.unsqueeze(-1)).reshape([*leading, self.blocks * self.stored_block])
        if self.blocks * self.stored_block > self.features:
            real = paddle.slice(real, [packed.ndim - 1], [0], [self.features])
        return real if factor is None else real * factor

    def whole(self, *stored: Any) -> paddle.Tensor:
        """The whole weight, float32, in the float weight's shape; ``stored`` as for `rows`."""
        rows = self.rows(*stored)
        if self.axis == 0:
            return rows if len(self.shape) == 2 else rows.reshape(list(self.shape))
        others = [size for axis, size in enumerate(self.shape) if axis != self.axis]
        order = [*range(1, self.axis + 1), 0, *range(self.axis + 1, len(self.shape))]
        moved = rows if len(others) == 1 else rows.reshape([self.shape[self.axis], *others])
        return moved.transpose(order)


@dataclass(frozen=True, eq=False)
class BlockWeight:
    """Codes of the rows of a weight, their grids, and where the rows are in it.

    ``codes``: integers ``[C, F]``; ``shape``, ``axis``: of the float weight, and of its rows; ``factor``: float32 ``[F]``, by which the
    features are multiplied after the codes were turned into numbers.

    Raises:
        ConfigError: the parts do not fit together, or blocks do not end at whole bytes.
    """

    codes: npt.NDArray[Any]
    grid: BlockGrid
    shape: tuple[int, ...]
    axis: int
    factor: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        layout = self.layout
        if self.codes.shape != (self.shape[self.axis], layout.features):
            raise ConfigError(f"codes {self.codes.shape} are not the rows of a weight {list(self.shape)} along axis {self.axis}")
        if self.codes.size and (self.codes.min() < 0 or self.codes.max() > self.grid.quant_max):
            raise ConfigError(f"the codes of a weight must lie in [0, {self.grid.quant_max}]")
        if self.grid.group_size is not None and self.grid.group_size % layout.per_byte:
            raise ConfigError(f"blocks of {self.grid.group_size} codes of {self.grid.num_bits} bits do not end at a whole byte")

    @property
    def num_bits(self) -> int:
        """Width of the codes."""
        return self.grid.num_bits

    @property
    def layout(self) -> BlockLayout:
        """How it is stored."""
        has_factor = self.factor is not None
        return BlockLayout(tuple(self.shape), self.axis, self.grid.num_bits, self.grid.group_size, self.grid.is_symmetric, has_factor)

    def buffers(self) -> dict[str, npt.NDArray[Any]]:
        """What a twin stores, by the ending of its name.

        ``quantized``: int8 ``[C, bytes]``, each byte less 128 (int16 above 8 bits): Paddle looks up rows of no other integers; ``scale``:
        float32 ``[C, B]`` or ``[1, 1]``; ``zero_point``, absent where the grid is symmetric: int8 (int32 above 8 bits), shape of the
        scale, less `BlockLayout.offset`; ``factor``: float32 ``[F]``, where there is one.
        """
        layout = self.layout
        filled = np.full((self.codes.shape[0], layout.blocks * layout.stored_block), self.grid.middle, np.int32)
        filled[:, : layout.features] = self.codes
        packed = pack(filled, self.num_bits)
        if packed.dtype == np.uint8:
            packed = (packed.astype(np.int16) - 128).astype(np.int8)
        found: dict[str, npt.NDArray[Any]] = {"quantized": packed, "scale": self.grid.scale}
        if not layout.is_symmetric:
            found["zero_point"] = (self.grid.zero_point - layout.offset).astype(np.int8 if self.num_bits <= 8 else np.int32)
        if self.factor is not None:
            found["factor"] = self.factor
        return found


def _codes(stored: paddle.Tensor, layout: BlockLayout) -> paddle.Tensor:
    """The codes less their offset, int32, of what is stored; those of a byte along a new last axis."""
    if layout.per_byte == 1:
        return stored
    base, digits, rest = 1 << container_bits(layout.num_bits), [], stored + 128
    for _ in range(layout.per_byte - 1):
        digits.append(rest % base)
        rest = rest // base
    return paddle.stack([*digits, rest], axis=-1)
