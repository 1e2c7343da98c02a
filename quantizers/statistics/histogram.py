"""A histogram whose bin width is a power of two, so that it is exact however the data was split into batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError, NonFiniteError
from quantizers.statistics.arrays import FloatArray

__all__ = ["MAX_BINS", "CountArray", "PowerOfTwoHistogram", "check_bins"]

CountArray = npt.NDArray[np.int64]

MAX_BINS = 1 << 20  # 32 MiB a tensor

# Every float32 is a multiple of 2**-149: finer bins could never hold more.
_MIN_EXPONENT = -149
_MIN_FLOAT32_EXPONENT = -126
_CHUNK = 1 << 17


def check_bins(value: Any) -> int:
    """Return ``value`` when it is a positive int of at most `MAX_BINS`, else raise ``ConfigError``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"bins must be a positive int, got {value!r}")
    if value > MAX_BINS:
        raise ConfigError(f"bins must be at most {MAX_BINS}, got {value}: every tensor has a histogram of its own")
    return int(value)


class PowerOfTwoHistogram:
    """Counts of signed magnitudes in bins of width ``2**exponent``, exact zeros counted apart.

    ``bins`` is the resolution asked for: the histogram has ``N = 2 * bins`` bins, so that at least ``bins`` of them lie below the
    largest magnitude ever seen (which fills more than half of the range).  ``counts`` is int64 ``[2, N]``: row 0 positive values,
    row 1 negative ones; bin k holds the magnitudes in ``[k * 2**exponent, (k + 1) * 2**exponent)``.  ``zeros`` counts exact zeros.

    The exponent is the smallest one at which the largest magnitude fits, and halving the resolution merges pairs of bins; both
    are the same whether data came at once, in batches or through `merge`, in any order.  Memory never grows.
    """

    def __init__(self, bins: int = 2048) -> None:
        self.bins = check_bins(bins)
        self.exponent = _MIN_EXPONENT
        self.zeros = 0
        self.counts: CountArray = np.zeros((2, 2 * self.bins), dtype=np.int64)

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def total(self) -> int:
        """Number of values counted, zeros included."""
        return self.zeros + int(self.counts.sum())

    @property
    def mean_square(self) -> float:
        """Of all values counted, each taken for the middle of its bin; 0 without any."""
        middles = (self.edges[:-1] + self.edges[1:]) / 2
        return float(np.square(middles) @ self.magnitude_counts) / self.total if self.total else 0.0

    @property
    def magnitude_counts(self) -> CountArray:
        """int64 ``[N]``: counts of magnitudes, both signs together, zeros left out."""
        return np.asarray(self.counts[0] + self.counts[1])

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """float64 ``[N + 1]``: edges of the magnitude bins."""
        return np.arange(self.counts.shape[1] + 1, dtype=np.float64) * self.width

    def update(self, values: FloatArray, abs_max: float | None = None) -> None:
        """Count float32 ``values`` (any shape, finite).

        ``abs_max``, at least the largest magnitude of ``values``, fixes the range; None measures it.  Give it when ``values`` is a
        sample of a tensor whose exact extreme is known.  Raises ``NonFiniteError`` for NaN or Inf, ``ConfigError`` when a magnitude is
        above ``abs_max``.
        """
        flat = np.asarray(values, dtype=np.float32).reshape(-1)
        if flat.size == 0:
            return
        largest = max(float(flat.max()), -float(flat.min()))
        if not math.isfinite(largest):
            raise NonFiniteError("a histogram counts finite values only, got NaN or Inf")
        if abs_max is not None and not largest <= abs_max < math.inf:
            raise ConfigError(f"abs_max is {abs_max}, but the values reach {largest}")
        self._raise_exponent(_exponent_for(largest if abs_max is None else abs_max, self.counts.shape[1]))
        for start in range(0, flat.size, _CHUNK):
            self._count(flat[start : start + _CHUNK])

    def merge(self, other: PowerOfTwoHistogram) -> None:
        """Add the counts of ``other``, which stays as it is.  Raises ``ConfigError`` when its ``bins`` differ."""
        if other.bins != self.bins:
            raise ConfigError(f"histograms of {self.bins} and {other.bins} bins cannot be merged; calibrate both with the same bins")
        self._raise_exponent(other.exponent)
        self.counts += _coarsen(other.counts, self.exponent - other.exponent)
        self.zeros += other.zeros

    def copy(self) -> PowerOfTwoHistogram:
        """An independent copy."""
        return self.from_state(self.state())

    def state(self) -> dict[str, Any]:
        """``counts`` (int64 array), ``zeros`` and ``exponent`` (ints): all that `from_state` needs."""
        return {"counts": self.counts.copy(), "zeros": self.zeros, "exponent": self.exponent}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PowerOfTwoHistogram:
        """The histogram that `state` described.  Raises ``ConfigError`` when it describes none."""
        counts = np.array(state["counts"], dtype=np.int64)
        if counts.ndim != 2 or counts.shape[0] != 2 or counts.shape[1] < 2 or counts.shape[1] % 2 or (counts < 0).any():
            raise ConfigError(f"counts of shape {list(counts.shape)} are no histogram: [2, 2 * bins] counts are needed")
        histogram = cls(counts.shape[1] // 2)
        histogram.counts = counts
        histogram.zeros = int(state["zeros"])
        histogram.exponent = int(state["exponent"])
        return histogram

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PowerOfTwoHistogram):
            return NotImplemented
        return (self.exponent, self.zeros) == (other.exponent, other.zeros) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PowerOfTwoHistogram(bins={self.bins}, exponent={self.exponent}, total={self.total})"

    def _raise_exponent(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.counts = _coarsen(self.counts, exponent - self.exponent)
            self.exponent = exponent

    def _count(self, flat: FloatArray) -> None:
        size = self.counts.shape[1]
        # Truncation towards zero maps both signs at once: +k and -k land k places either side of the middle.  Only the two bins
        # next to zero and the zeros themselves share the middle, and two cheap counts tell those apart.
        middle = np.bincount(self._scaled(flat).astype(np.intp) + size, minlength=2 * size)
        positive, negative = middle[size + 1 : 2 * size], middle[size - 1 : 0 : -1]
        nonzero = int(np.count_nonzero(flat))
        below = int(np.count_nonzero(flat < 0))
        self.counts[0, 1:] += positive
        self.counts[1, 1:] += negative
        self.counts[0, 0] += nonzero - below - int(positive.sum())
        self.counts[1, 0] += below - int(negative.sum())
        self.zeros += flat.size - nonzero

    def _scaled(self, flat: FloatArray) -> npt.NDArray[Any]:
        if self.exponent >= _MIN_FLOAT32_EXPONENT:
            # A product with a power of two is exact in float32 (or far below 1, where only its being below 1 matters).
            return flat * np.float32(math.ldexp(1.0, -self.exponent))
        return flat.astype(np.float64) * math.ldexp(1.0, -self.exponent)


def _exponent_for(abs_max: float, size: int) -> int:
    """Smallest exponent e (at least that of the smallest denormal) with ``abs_max < size * 2**e``."""
    if abs_max == 0:
        return _MIN_EXPONENT
    exponent = math.frexp(abs_max / size)[1]
    # frexp gives abs_max / size < 2**exponent; division may have rounded, so look one to each side.
    exponent -= 1
    while not abs_max < math.ldexp(float(size), exponent):
        exponent += 1
    return max(exponent, _MIN_EXPONENT)


def _coarsen(counts: CountArray, steps: int) -> CountArray:
    """``counts`` ``[2, N]`` after merging pairs of bins ``steps`` times: bin k goes to bin ``k >> steps``."""
    if steps == 0:
        return counts
    size = counts.shape[1]
    result = np.zeros_like(counts)
    if steps >= size.bit_length():
        result[:, 0] = counts.sum(axis=1)
        return result
    group = 1 << steps
    groups = -(-size // group)
    padded = np.zeros((2, groups * group), dtype=np.int64)
    padded[:, :size] = counts
    result[:, :groups] = padded.reshape(2, groups, group).sum(axis=2)
    return result
