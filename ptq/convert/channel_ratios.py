"""The grids on a web's tensors and the layers that read them, as far as ratios of channels change what rounding costs there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import ChannelRanges, GridKind, QParams, channel_grid

__all__ = ["RatioGrid", "RatioReader"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RatioGrid:
    """A grid on a tensor of a web, and what calibration saw of the tensor.

    Attributes:
        labels: which ratio each channel has, ``[C]``.
        ranges: of its channels.
        power: the mean square of its elements.
        share: of elements that are not zero, which any grid holds exactly.
        kind, bits: of the grid that its rule gives.
        step: scale of the one range that its rule gives.
    """

    labels: Labels
    ranges: ChannelRanges
    power: float
    share: float
    kind: GridKind
    bits: int
    step: float

    @cached_property
    def powers(self) -> Array:
        """The mean square of each channel, ``[C]``, as if all had the same distribution but for the range."""
        squares = np.square(self.ranges.abs_max.astype(np.float64))
        total = squares.sum()
        return np.asarray(squares * (self.power * squares.size / total if total else 0.0))

    @cached_property
    def live(self) -> Array:
        """What a step of one puts on each channel, ``[C]``; a channel that is always zero is exact on any grid."""
        return np.asarray((self.ranges.abs_max > 0) * self.share / 12)

    def needed(self, gains: Array) -> Array:
        """The scale that each channel needs by itself, ``[C]``, with one zero point; 0 for a channel that is always zero."""
        grid = channel_grid(self.ranges, self.kind, gains, num_bits=self.bits)
        return np.asarray(grid.scale.astype(np.float64) * (self.ranges.abs_max > 0))

    def with_ratios(self, ratios: Array) -> QParams:
        """The grid of the tensor, each channel divided by its ratio; ``ratios`` are those of the web."""
        own = ratios[self.labels].astype(np.float32)
        low, high = (self.ranges.low / own).min(), (self.ranges.high / own).max()
        grid = channel_grid(ChannelRanges([low], [high]), self.kind, [1.0], num_bits=self.bits)
        return QParams(grid.scale.reshape(()), grid.zero_point.reshape(()), grid.quant_min, grid.quant_max, grid.num_bits)


@dataclass(frozen=True)
class RatioReader:
    """How one layer reads a tensor of a web.

    Attributes:
        labels: which ratio each channel has, ``[C]``.
        weight: ``[groups, outputs, channels / groups, taps]``.
        error: what rounding it without ratios changed, in the same shape.
        levels: of its grid, above zero.
        per_output: whether each output has a scale of its own.
        powers: the mean square of each channel, ``[C]``.
    """

    labels: Labels
    weight: npt.NDArray[np.float32]
    error: npt.NDArray[np.float32]
    levels: int
    per_output: bool
    powers: Array

    @property
    def keeps_integers(self) -> bool:
        """Whether ratios change the scales of outputs only."""
        return self.per_output and self.weight.shape[2] == 1

    @cached_property
    def squares(self) -> Array:
        """Sum of the squares of all weights that read a channel, ``[C]``."""
        return _by_channel(self.weight)

    @cached_property
    def largest(self) -> Array:
        """The largest weight that reads a channel, of the largest of all, ``[C]``."""
        found = np.abs(self.weight).max(axis=(1, 3)).reshape(-1).astype(np.float64)
        return np.asarray(found / (found.max() or 1.0))

    @cached_property
    def noise(self) -> float:
        """What the rounded weights put on the results, without ratios."""
        return float(_by_channel(self.error) @ self.powers)

    def noise_with(self, ratios: Array) -> float:
        """The same with the ratios of the web."""
        if self.keeps_integers:
            return self.noise
        own = ratios[self.labels]
        scaled = self.weight * own.astype(np.float32).reshape(self.weight.shape[0], 1, -1, 1)
        step = np.abs(scaled).max(axis=(2, 3) if self.per_output else None, keepdims=True) / np.float32(self.levels)
        step[step == 0] = 1
        return float(_by_channel(scaled - np.rint(scaled / step) * step) @ (self.powers / np.square(own)))


def _by_channel(weight: npt.NDArray[Any]) -> Array:
    found: Array = np.square(weight, dtype=np.float64).sum(axis=(1, 3)).reshape(-1)
    return found
