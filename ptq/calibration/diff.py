"""What changed between two calibrations: each tensor's range, and how far its distribution moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantizers import PowerOfTwoHistogram, TensorStatistics

from .file import LayerStatistics

__all__ = ["TensorShift", "divergence", "format_shifts", "shifts"]


@dataclass(frozen=True)
class TensorShift:
    """One tensor in two calibrations.

    ``index`` counts the tensors of a side.  ``before`` and ``after`` are (low, high), ``None`` where a calibration lacks the tensor;
    ``bits`` is the `divergence` of the two distributions, ``None`` when one is missing.
    """

    layer: str
    side: str
    index: int
    before: tuple[float, float] | None
    after: tuple[float, float] | None
    bits: float | None


def shifts(before: dict[str, LayerStatistics], after: dict[str, LayerStatistics]) -> list[TensorShift]:
    """One row for each tensor of either calibration: first those that one of them lacks, then by falling divergence."""
    old, new = _tensors(before), _tensors(after)
    rows = []
    for key in old.keys() | new.keys():
        a, b = old.get(key), new.get(key)
        bits = None if a is None or b is None else divergence(a.histogram, b.histogram)
        rows.append(TensorShift(*key, _range(a), _range(b), bits))
    return sorted(rows, key=lambda row: (-math.inf if row.bits is None else -row.bits, row.layer, row.side, row.index))


def divergence(first: PowerOfTwoHistogram, second: PowerOfTwoHistogram) -> float:
    """Jensen-Shannon divergence in bits between two histograms' magnitudes, exact zeros a bin of their own.

    0 for equal distributions, 1 for such that share no bin.  Both are compared at the coarser of their two bin widths.
    """
    exponent = max(first.exponent, second.exponent)
    p, q = _distribution(first, exponent), _distribution(second, exponent)
    size = max(p.size, q.size)
    p, q = np.pad(p, (0, size - p.size)), np.pad(q, (0, size - q.size))
    middle = (p + q) / 2
    bits = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return min(max(bits, 0.0), 1.0)


def format_shifts(rows: Sequence[TensorShift], limit: int | None = 20) -> str:
    """A table of the first ``limit`` rows, all when ``None``."""
    shown = rows if limit is None else rows[:limit]
    cells = [("bits", "layer", "tensor", "range before", "range after")]
    for row in shown:
        tensor = row.side if row.index == 0 else f"{row.side} {row.index}"
        bits = "-" if row.bits is None else f"{row.bits:.4f}"
        cells.append((bits, row.layer or "(model)", tensor, _range_text(row.before), _range_text(row.after)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    hidden = len(rows) - len(shown)
    return "\n".join([*lines, f"... {hidden} more"] if hidden else lines)


def _tensors(layers: dict[str, LayerStatistics]) -> dict[tuple[str, str, int], TensorStatistics]:
    return {
        (name, side, index): statistics
        for name, layer in layers.items()
        for side, tensors in layer.sides().items()
        for index, statistics in enumerate(tensors)
    }


def _range(statistics: TensorStatistics | None) -> tuple[float, float] | None:
    return None if statistics is None else (statistics.low, statistics.high)


def _range_text(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:.4g} .. {bounds[1]:.4g}"


def _distribution(histogram: PowerOfTwoHistogram, exponent: int) -> npt.NDArray[np.float64]:
    """Share of the zeros, then of each bin of width ``2**exponent``."""
    counts = histogram.magnitude_counts
    bins = np.arange(counts.size) >> min(exponent - histogram.exponent, 62)
    shares = np.concatenate([[histogram.zeros], np.bincount(bins, weights=counts)]).astype(np.float64)
    total = shares.sum()
    return np.asarray(shares / total if total else shares)


def _relative_entropy(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    used = p > 0
    return float((p[used] * np.log2(p[used] / q[used])).sum())
