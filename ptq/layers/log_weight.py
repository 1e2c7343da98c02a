"""Weights on the logarithmic grid, as a twin stores them: int8 codes, and the number of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from quantizers.errors import ConfigError
from quantizers.grids.log_grid import LogGrid

__all__ = ["LogLayout", "LogWeight"]


@dataclass(frozen=True)
class LogLayout:
    """``num_bits``: of the codes."""

    num_bits: int = 8

    @property
    def buffers(self) -> list[str]:
        """Endings of the names of what is stored, in the order of the arguments of `rows`."""
        return ["quantized", "table"]

    def rows(self, codes: paddle.Tensor, table: paddle.Tensor) -> paddle.Tensor:
        """Real numbers, float32, of int8 codes of any shape."""
        places = codes.astype("int64") + 128
        return paddle.nn.functional.embedding(places, table.unsqueeze(-1)).squeeze(-1)

    whole = rows


@dataclass(frozen=True, eq=False)
class LogWeight:
    """Codes, int8 in the float weight's shape, and their grid.

    Raises:
        ConfigError: the codes are of another type.
    """

    codes: npt.NDArray[Any]
    grid: LogGrid

    def __post_init__(self) -> None:
        if self.codes.dtype != np.int8:
            raise ConfigError(f"codes of the logarithmic grid are int8, got {self.codes.dtype}")

    @property
    def num_bits(self) -> int:
        """Width of the codes."""
        return 8

    @property
    def layout(self) -> LogLayout:
        """How it is stored."""
        return LogLayout()

    def buffers(self) -> dict[str, npt.NDArray[Any]]:
        """What a twin stores, by the ending of its name: ``quantized``, the codes, and ``table``, the number of each, ``[256]``."""
        return {"quantized": self.codes, "table": self.grid.table}
