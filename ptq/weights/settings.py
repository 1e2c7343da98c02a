"""What `quantize_weights` is asked for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantizers.errors import ConfigError

__all__ = ["ALGORITHMS", "BITS", "GROUP_SIZES", "WITH_DATA", "WeightSettings"]

BITS = (2, 3, 4, 5, 6, 7, 8, 16)
# Blocks that ONNX Runtime's kernels have.
GROUP_SIZES = (16, 32, 64, 128, 256)
WITH_DATA = ("gptq", "awq")
ALGORITHMS = ("absmax", "mse", "hqq", "log", *WITH_DATA)


@dataclass(frozen=True)
class WeightSettings:
    """How weights become integers; see `quantize_weights`.

    Raises:
        ConfigError: a value is not offered, or two exclude each other.
    """

    bits: int = 8
    group_size: int | None = None
    algorithm: str = "absmax"
    symmetric: bool | None = None
    per_channel: bool = True

    def __post_init__(self) -> None:
        if type(self.bits) is not int or self.bits not in BITS:
            raise ConfigError(f"bits must be one of {', '.join(map(str, BITS))}, got {self.bits!r}")
        if self.group_size is not None and (type(self.group_size) is not int or self.group_size not in GROUP_SIZES):
            raise ConfigError(f"group_size must be None or one of {', '.join(map(str, GROUP_SIZES))}, got {self.group_size!r}")
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {self.algorithm!r}")
        for name, value, kinds in (("symmetric", self.symmetric, (bool, type(None))), ("per_channel", self.per_channel, (bool,))):
            if not isinstance(value, kinds):
                raise ConfigError(f"{name} must be True or False, got {value!r}")
        if not self.per_channel and (self.group_size is not None or self.algorithm in WITH_DATA):
            raise ConfigError(f"per_channel=False means one grid for a whole weight; {self._finer()} needs grids of rows or blocks")
        if self.algorithm == "log" and (self.bits != 8 or self.group_size is not None or self.symmetric is not None):
            raise ConfigError("algorithm='log' has 8 bits and one grid for a whole weight: leave bits, group_size and symmetric out")

    def _finer(self) -> str:
        return f"group_size={self.group_size}" if self.group_size is not None else f"algorithm={self.algorithm!r}"

    @property
    def is_symmetric(self) -> bool:
        """Zero points in the middle: as told, else of all but blocks of few bits, to which a zero point is worth more than it takes."""
        return self.symmetric if self.symmetric is not None else self.group_size is None or self.bits > 4

    @property
    def is_plain(self) -> bool:
        """Whether a weight keeps its layout: whole bytes, symmetric, no blocks."""
        return self.bits > 4 and self.is_symmetric and self.group_size is None and self.algorithm == "absmax"

    def describe(self) -> str:
        """For people: ``4 bits in blocks of 32, gptq``."""
        place = "per channel" if self.per_channel else "per tensor"
        if self.algorithm == "log":
            place = "per tensor"
        elif self.group_size is not None:
            place = f"in blocks of {self.group_size}"
        return f"{self.bits} bits {place}, {self.algorithm}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which make an equal object as keyword arguments."""
        return {
            "bits": self.bits,
            "group_size": self.group_size,
            "algorithm": self.algorithm,
            "symmetric": self.symmetric,
            "per_channel": self.per_channel,
        }
