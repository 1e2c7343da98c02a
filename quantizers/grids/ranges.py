"""From a clipping threshold to a range of real numbers, and from a range to a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from quantizers.errors import ConfigError, NonFiniteError
from quantizers.grids.qparams import QParams
from quantizers.statistics.tensor import TensorStatistics

__all__ = ["GridKind", "Range", "full_range", "grid_kind", "grid_of_range", "range_of_threshold"]

GridKind = Literal["unsigned", "symmetric", "asymmetric"]
"""``unsigned``: zero point 0, no negative integers; ``symmetric``: zero point 0, signed; ``asymmetric``: unsigned with a zero point."""


@dataclass(frozen=True)
class Range:
    """Real numbers ``low <= 0 <= high`` that a grid must span.

    Raises ``NonFiniteError`` for NaN or Inf and ``ConfigError`` when zero lies outside.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise NonFiniteError(f"the range [{self.low}, {self.high}] is not finite")
        if not self.low <= 0 <= self.high:
            raise ConfigError(f"the range [{self.low}, {self.high}] must hold zero")

    @property
    def threshold(self) -> float:
        """The larger ``|bound|``."""
        return max(-self.low, self.high)


def grid_kind(statistics: TensorStatistics, *, symmetric: bool, nonnegative: bool | None = None) -> GridKind:
    """The kind of grid for a tensor: ``unsigned`` when no negative element was seen, else as ``symmetric`` says.

    ``nonnegative`` is what the model's graph knows.  False asks for a signed grid though no negative element was seen; True cannot
    overrule a negative element: an operation in place may have changed the tensor after what the graph knows.
    """
    if statistics.low >= 0 and nonnegative is not False:
        return "unsigned"
    return "symmetric" if symmetric else "asymmetric"


def range_of_threshold(threshold: float, statistics: TensorStatistics, kind: GridKind) -> Range:
    """The part of the tensor's range within ``[-threshold, threshold]``; all of that interval for a symmetric grid."""
    if kind == "unsigned":
        return Range(0.0, threshold)
    if kind == "symmetric":
        return Range(-threshold, threshold)
    return Range(min(max(statistics.low, -threshold), 0.0), max(min(statistics.high, threshold), 0.0))


def full_range(statistics: TensorStatistics, kind: GridKind) -> Range:
    """The range that clips nothing (but what is negative, on an unsigned grid)."""
    threshold = max(statistics.high, 0.0) if kind == "unsigned" else statistics.abs_max
    return range_of_threshold(threshold, statistics, kind)


def grid_of_range(bounds: Range, kind: GridKind, num_bits: int = 8) -> QParams:
    """The grid of ``num_bits`` bits and the given kind over ``bounds``.  Raises ``ConfigError`` for a bad ``num_bits``."""
    if kind == "asymmetric":
        return QParams.asymmetric(bounds.low, bounds.high, num_bits=num_bits)
    return QParams.symmetric(bounds.threshold, num_bits=num_bits, signed=kind == "symmetric")
