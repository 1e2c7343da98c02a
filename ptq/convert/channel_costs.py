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

__all__ = ["best_ratios"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

AS_GOOD = 0.01
POWERS = (0.25, 0.5, 0.75, 1.0)
LEAST = 1e-3  # of the largest weight: smaller ones count as so large


def best_ratios(grids: Sequence[RatioGrid], readers: Sequence[RatioReader], count: int) -> tuple[Array, float]:
    """The ratios that cost the readers least, ``[count]``, the first of them 1, and how many dB less than without ratios.

    What counts is the mean over the readers, each relative to before; a grid counts for all readers of its channels.
    """
    gains = np.stack([_spread(own.squares, own.labels, count) for own in readers])
    before = np.array([_activation_noise(grids, [grid.step for grid in grids], gain, np.ones(count)) for gain in gains])
    weights = np.array([own.noise for own in readers])
    whole = np.maximum(before + weights, np.finfo(np.float64).tiny)
    keeps_all = all(own.keeps_integers for own in readers)

    def cost_of(ratios: Array) -> float:
        steps = [float(grid.with_ratios(ratios).scale) for grid in grids]
        costs = [_activation_noise(grids, steps, gain, ratios) + own.noise_with(ratios) for gain, own in zip(gains, readers, strict=True)]
        return float(np.mean(np.array(costs) / whole))

    best, least = np.ones(count), 1.0
    for ratios in _candidates(grids, readers, gains, count):
        cost = cost_of(ratios)
        if cost < least or (keeps_all and cost <= least * (1 + AS_GOOD)):  # the last are as even as channels can be
            best, least = ratios, cost
    if not keeps_all:
        parts = [0.0 if own.keeps_integers else own.noise / all_of / len(readers) for own, all_of in zip(readers, whole, strict=True)]
        optimum = descend(grids, readers, np.mean(gains / whole[:, None], axis=0), parts, best)
        found = [(cost_of(ratios), ratios) for ratios in (optimum**power for power in POWERS)]
        least, best = min([(least, best), *found], key=lambda pair: pair[0])
    return best, -10 * float(np.log10(least)) if least > 0 else np.inf


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
