"""A weight as a twin stores it: integers, and the grid that they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import QParams
from quantizers.errors import ConfigError

__all__ = ["IntegerWeight"]


@dataclass(frozen=True, eq=False)
class IntegerWeight:
    """Integers of the float weight's shape, in the dtype of `QParams.storage_dtype`, and their grid.

    Raises:
        ConfigError: the integers are none, lie outside the grid, or have no axis for its channels.
    """

    integers: npt.NDArray[Any]
    qparams: QParams

    def __post_init__(self) -> None:
        integers, grid = np.asarray(self.integers), self.qparams
        if not np.issubdtype(integers.dtype, np.integer):
            raise ConfigError(f"a quantized weight must consist of integers, got {integers.dtype}")
        if integers.size and not (grid.quant_min <= integers.min() and integers.max() <= grid.quant_max):
            raise ConfigError(f"a quantized weight must lie in [{grid.quant_min}, {grid.quant_max}]")
        axis = grid.quant_axis
        if axis is not None and (axis >= integers.ndim or integers.shape[axis] != grid.scale.size):
            raise ConfigError(f"{grid.scale.size} scales on axis {axis} do not fit a weight of shape {list(integers.shape)}")
        object.__setattr__(self, "integers", integers.astype(grid.storage_dtype))

    @classmethod
    def nearest(cls, weight: npt.ArrayLike, qparams: QParams) -> IntegerWeight:
        """Each element rounded to the nearest integer of the grid, halves to even."""
        return cls(qparams.quantize(np.asarray(weight, dtype=np.float32)), qparams)

    @property
    def num_bits(self) -> int:
        """Width of the grid."""
        return self.qparams.num_bits

    def buffers(self) -> dict[str, npt.NDArray[Any]]:
        """What a twin stores, by the ending of its name: ``quantized`` and ``scale``."""
        return {"quantized": self.integers, "scale": self.scale}

    @property
    def scale(self) -> npt.NDArray[np.float32]:
        """The grid's scale in a shape that broadcasts over the weight: ``[]`` or ``[1, .., C, .., 1]``."""
        scale = np.asarray(self.qparams.scale)
        if self.qparams.quant_axis is None:
            return scale
        shape = [1] * self.integers.ndim
        shape[self.qparams.quant_axis] = -1
        return scale.reshape(shape)
