"""Which ratios the channels of a web of tensors should have, by what rounding then costs the layers that read it.

A grid with scale S puts noise of power ``(S * r_c) ** 2 / 12`` on channel c, where that is not zero, which reaches a layer's results
through the squares of the weights that read the channel.  The weights take up the ratios ``r_c`` and are rounded anew: what that changes of
them reaches the results through ``E[x_c ** 2] / r_c ** 2``.  Where the weights of one channel have outputs of their own (depthwise) they
keep their integers, and the ratios follow the channels' ranges; else the two are balanced: what a smooth model of the cost says,
``range ** a / weight ** (1 - a)`` as in SmoothQuant (Xiao et al. 2022) and powers of the ranges alone are tried on the rounded weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..placement.channel_links import FIXED
from .channel_descent import descend
from .channel_ratios import RatioGrid, RatioReader

__all__ = ["best_ratios", "even_ratios"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

AS_GOOD = 0.01
POWERS = (0.25, 0.5, 0.75, 1.0)
LEAST = 1e-3  # of the largest weight: smaller ones count as so large


def best_ratios(grids: Sequence[RatioGrid], readers: Sequence[RatioReader], count: int) -> tuple[Array, float]:
    """The ratios that cost the readers least, ``[count]``, the first of them 1, and how many dB less than without ratios.

    What counts is the mean over the readers, each relative to before; a grid counts for all readers of its channels.
    """
    costs = _Costs(grids, readers, count)
    keeps_all = all(own.keeps_integers for own in readers)
    best, least = np.ones(count), 1.0
    for ratios in _candidates(grids, readers, costs.gains, count):
        cost = costs.of(ratios)
        if cost < least or (keeps_all and cost <= least * (1 + AS_GOOD)):  # the last are as even as channels can be
            best, least = ratios, cost
    if not keeps_all:
        optimum = descend(grids, readers, costs.of_noise(), costs.of_weights(), best)
        found = [(costs.of(ratios), ratios) for ratios in (optimum**power for power in POWERS)]
        least, best = min([(least, best), *found], key=lambda pair: pair[0])
    return best, _decibels(least)


def even_ratios(grids: Sequence[RatioGrid], readers: Sequence[RatioReader], count: int) -> tuple[Array, float]:
    """The ratios that make all channels end where the smallest does, and how many dB less they cost the readers, as `best_ratios`.

    All are at least 1, so that a ReLU6 in front of the grid caps none of them below the grid's end, and one that reaches 6 ends there.
    """
    costs = _Costs(grids, readers, count)
    *_, even = _candidates(grids, readers, costs.gains, count)
    even = np.concatenate([[1.0], even[1:] / even[1:].min()])
    return even, _decibels(costs.of(even))


class _Costs:
    """What rounding costs the readers of one web, relative to what it costs without ratios."""

    def __init__(self, grids: Sequence[RatioGrid], readers: Sequence[RatioReader], count: int) -> None:
        self.grids, self.readers = grids, readers
        self.gains = np.stack([_spread(own.squares, own.labels, count) for own in readers])
        before = np.array([_activation_noise(grids, [grid.step for grid in grids], gain, np.ones(count)) for gain in self.gains])
        self.whole = np.maximum(before + np.array([own.noise for own in readers]), np.finfo(np.float64).tiny)

    def of(self, ratios: Array) -> float:
        """The mean over the readers with these ratios; 1 without."""
        steps = [float(grid.with_ratios(ratios).scale) for grid in self.grids]
        pairs = zip(self.gains, self.readers, strict=True)
        costs = [_activation_noise(self.grids, steps, gain, ratios) + own.noise_with(ratios) for gain, own in pairs]
        return float(np.mean(np.array(costs) / self.whole))

    def of_noise(self) -> Array:
        """What noise of power one on each ratio's channels costs, ``[count]``."""
        return np.asarray(np.mean(self.gains / self.whole[:, None], axis=0))

    def of_weights(self) -> list[float]:
        """What the weights that each reader has cost; 0 where they keep their integers."""
        pairs = zip(self.readers, self.whole, strict=True)
        return [0.0 if own.keeps_integers else own.noise / whole / len(self.readers) for own, whole in pairs]


def _decibels(cost: float) -> float:
    return -10 * float(np.log10(cost)) if cost > 0 else np.inf


def _activation_noise(grids: Sequence[RatioGrid], steps: Sequence[float], gain: Array, ratios: Array) -> float:
    """What grids put on one reader's results; ``gain`` is that of each ratio's channels, ``[count]``."""
    noise = (
        step**2 * float((grid.live * np.square(ratios[grid.labels])) @ gain[grid.labels]) for grid, step in zip(grids, steps, strict=True)
    )
    return sum(noise)


def _candidates(grids: Sequence[RatioGrid], readers: Sequence[RatioReader], gains: Array, count: int) -> Iterator[Array]:
    relative = gains / np.maximum(gains.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    shape = np.zeros(count)
    for grid in grids:
        needed = grid.needed(relative.sum(axis=0)[grid.labels])
        np.maximum.at(shape, grid.labels, needed / (needed.max(initial=0.0) or 1.0))
    weights = np.full(count, LEAST)
    for reader in readers:
        np.maximum.at(weights, reader.labels, reader.largest)
    shape = np.where(shape > 0, shape, shape.max() or 1.0)
    is_fixed = any((labels == FIXED).any() for labels in [own.labels for own in grids] + [own.labels for own in readers])
    for power in POWERS:
        for against in sorted({0.0, 1.0 - power}):
            found = shape**power / weights**against
            yield np.concatenate([[1.0], found[1:] / (found[FIXED] if is_fixed else found[1:].max())])


def _spread(values: Array, labels: Labels, count: int) -> Array:
    """The mean of the values of each label, ``[count]``."""
    sums, sizes = np.bincount(labels, values, count), np.bincount(labels, minlength=count)
    return np.asarray(sums / np.maximum(sizes, 1))
