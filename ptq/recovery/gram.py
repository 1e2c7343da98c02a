"""What a layer's weights and bias do to its result, as quadratic forms: sums of products of inputs and of wanted results.

With columns ``x`` of what the quantized layer reads, a 1 added to each, and the results ``y`` that it shall have, the squared error of
any weights ``w`` (bias behind them) is ``w H w' - 2 C w' + sum y²`` with ``H = sum x x'``, ``C = sum y x'``.  So every way of rounding is
judged exactly, without another look at the data.  All sums are float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Gram", "Means", "centred"]

Array = npt.NDArray[np.float64]

EXACT = 1024  # inputs up to which the products too are float64; above, their speed counts more


@dataclass
class Means:
    """What each sample's columns and results are on average: columns ``[groups, inputs + 1]`` and results ``[groups, outputs]``."""

    columns: list[Array] = field(default_factory=list)
    results: list[Array] = field(default_factory=list)

    def residuals(self, matrix: Array, bias: Array) -> Array:
        """How far each sample's results are from the wanted ones on average, ``[samples, groups, outputs]``."""
        if not self.columns:
            return np.zeros((0, *bias.shape))
        columns, results = np.stack(self.columns), np.stack(self.results)
        answers = np.einsum("gok,sgk->sgo", matrix, columns[..., :-1], optimize=True)
        return np.asarray(answers + bias[None] * columns[..., -1:] - results)

    def residuals_of(self, change: Array) -> Array:
        """What a change of the weights alone, ``[groups, outputs, inputs]``, adds to each sample's results on average."""
        if not self.columns:
            return np.zeros((0, *change.shape[:2]))
        return np.asarray(np.einsum("gok,sgk->sgo", change, np.stack(self.columns)[..., :-1], optimize=True))


@dataclass
class Gram:
    """The sums of one layer; see the module.

    Attributes:
        products: ``H``, ``[groups, inputs + 1, inputs + 1]``.
        crossed: ``C``, ``[groups, outputs, inputs + 1]``.
        squares: ``sum y²``, ``[groups, outputs]``.
        count: columns.
        means: of the samples that count in the sums.
        held: of samples that do not.
    """

    products: Array
    crossed: Array
    squares: Array
    count: int = 0
    means: Means = field(default_factory=Means)
    held: Means = field(default_factory=Means)

    @classmethod
    def empty(cls, groups: int, outputs: int, inputs: int) -> Gram:
        """Sums of nothing."""
        return cls(np.zeros((groups, inputs + 1, inputs + 1)), np.zeros((groups, outputs, inputs + 1)), np.zeros((groups, outputs)))

    def add(self, columns: npt.NDArray[Any], results: npt.NDArray[Any], samples: int = 1) -> None:
        """Adds columns ``[groups, places, inputs]`` with results ``[groups, places, outputs]``, of so many samples one after the other."""
        if columns.shape[2] <= EXACT:
            columns, results = columns.astype(np.float64), results.astype(np.float64)
        wide = _with_ones(columns)
        self.products += wide.swapaxes(1, 2) @ wide
        self.crossed += results.swapaxes(1, 2) @ wide
        self.squares += np.square(results, dtype=np.float64).sum(axis=1)
        self.count += columns.shape[1]
        self._add_means(self.means, wide, results, samples)

    def hold(self, columns: npt.NDArray[Any], results: npt.NDArray[Any], samples: int = 1) -> None:
        """Notes the means of samples that shall not count."""
        self._add_means(self.held, _with_ones(columns), results, samples)

    @staticmethod
    def _add_means(means: Means, columns: npt.NDArray[Any], results: npt.NDArray[Any], samples: int) -> None:
        for part, wanted in zip(np.array_split(columns, samples, axis=1), np.array_split(results, samples, axis=1), strict=True):
            if part.shape[1]:
                means.columns.append(part.mean(axis=1, dtype=np.float64))
                means.results.append(wanted.mean(axis=1, dtype=np.float64))

    def error(self, matrix: Array, bias: Array) -> Array:
        """Squared error over all columns, ``[groups, outputs]``, of weights ``[groups, outputs, inputs]`` and a bias."""
        whole = np.concatenate([matrix, bias[..., None]], axis=2)
        quadratic = (whole @ self.products * whole).sum(axis=2)
        return np.asarray(quadratic - 2 * (self.crossed * whole).sum(axis=2) + self.squares)

    def best_bias(self, matrix: Array) -> Array:
        """The bias of least error for these weights, ``[groups, outputs]``."""
        answers = matrix @ self.products[:, :-1, -1:]
        return np.asarray((self.crossed[..., -1] - answers[..., 0]) / max(self.count, 1))


def _with_ones(columns: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([columns, np.ones((*columns.shape[:2], 1), dtype=columns.dtype)], axis=2)


def centred(gram: Gram) -> tuple[Array, Array]:
    """``H`` and ``C`` for weights whose bias is always the best one: ``[groups, inputs, inputs]``, ``[groups, outputs, inputs]``."""
    total = gram.products[:, :-1, -1]
    count = max(gram.count, 1)
    products = gram.products[:, :-1, :-1] - total[:, :, None] * total[:, None, :] / count
    crossed = gram.crossed[..., :-1] - gram.crossed[..., -1:] * total[:, None, :] / count
    return np.asarray(products), np.asarray(crossed)
