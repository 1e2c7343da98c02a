"""Ranges by their effect: of every grid the range whose rounding changes the results of the layers that read it least.

The error on a tensor's own histogram weighs all values alike; a layer does not.  What is minimised is the squared change of the layers'
results, each relative to its own power, so that layers that share a grid choose it together.  Grids that no layer reads stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from quantizers import QParams

from .collect import Collector
from .units import Unit
from .workbench import Workbench

__all__ = ["best_grid", "recover_ranges"]

Array = npt.NDArray[np.float64]

FACTORS = np.geomspace(0.25, 1.25, 24)
FINE = np.array([0.7, 0.8, 0.87, 0.93, 1.07, 1.15])
COLUMNS = 2048
SAMPLES = 128


@dataclass(frozen=True)
class Reader:
    """A layer that reads a grid: its weights ``[groups, outputs, inputs]`` and columns ``[groups, places, inputs]``, not rounded."""

    weights: Array
    columns: npt.NDArray[np.float32]

    def error(self, grid: QParams) -> float:
        """Power of the change of the results over that of the results."""
        change = grid.fake_quantize(self.columns) - self.columns
        wanted = self.columns @ self.weights.swapaxes(1, 2)
        noise = np.square(change @ self.weights.swapaxes(1, 2)).sum()
        return float(noise / max(float(np.square(wanted).sum()), np.finfo(np.float64).tiny))


def recover_ranges(bench: Workbench) -> None:
    """Chooses the ranges of all grids that layers read, in place; grids per channel stay."""
    collector = Collector(bench, SAMPLES)
    readers = _readers(bench)
    units = {unit.name: unit for owner in readers for unit in readers[owner]}
    for number, part in enumerate(collector.parts(list(units.values()))):
        names = {unit.name for unit in part}
        columns = collector.columns(part, COLUMNS)
        for owner, reading in readers.items():
            if not names.issuperset(unit.name for unit in reading) or not any(columns[unit.name].size for unit in reading):
                continue
            bench.report("ranges", number, len(units))
            found = [Reader(unit.goal, columns[unit.name]) for unit in reading if columns[unit.name].size]
            grid = bench.twins[owner].input_qparams
            if grid is not None:
                bench.twins[owner].set_input_grid(best_grid(grid, partial(_error, found)))


def _error(readers: Sequence[Reader], grid: QParams) -> float:
    return sum(reader.error(grid) for reader in readers)


def _readers(bench: Workbench) -> dict[str, list[Unit]]:
    """The units that read each grid, by the name of the twin that has it; those whose inputs are scaled by channels are left out."""
    found: dict[str, list[Unit]] = {}
    for unit in bench.units:
        if len(unit.names) > 1:
            continue
        for owner in bench.on_grids.get(unit.name, [unit.name]):
            found.setdefault(owner, []).append(unit)
    channelled = set(bench.state.traced.channels)
    return {
        owner: units
        for owner, units in found.items()
        if bench.twins[owner].input_qparams is not None
        and owner not in channelled
        and "input_shift" not in bench.twins[owner]._buffers  # that one is made of whole steps
        and not any(map(_is_scaled, units))
    }


def _is_scaled(unit: Unit) -> bool:
    """Whether the layer reads channels that were multiplied by factors, which the float model's are not."""
    return np.ndim(unit.twins[0].input_factors) > 0


def best_grid(grid: QParams, error: Callable[[QParams], float]) -> QParams:
    """The grid of the same kind whose range has the least error: both bounds together first, then each by itself."""
    low, high = float(np.asarray(grid.low)), float(np.asarray(grid.high))
    best, least = grid, error(grid)

    def attempt(bounds: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
        nonlocal best, least
        chosen = None
        for below, above in bounds:
            tried = _like(grid, below, above)
            found = error(tried)
            if found < least:
                best, least, chosen = tried, found, (below, above)
        return chosen

    low, high = attempt([(low * factor, high * factor) for factor in FACTORS]) or (low, high)
    low, high = attempt([(low * factor, high * factor) for factor in FINE]) or (low, high)
    if not grid.signed and not grid.is_symmetric:
        for _ in range(2):
            low, high = attempt([(low, high * factor) for factor in FINE]) or (low, high)
            low, high = attempt([(low * factor, high) for factor in (0.0, *FINE)]) or (low, high)
    return best


def _like(grid: QParams, low: float, high: float) -> QParams:
    if grid.signed or grid.is_symmetric:
        return QParams.symmetric(max(-low, high), num_bits=grid.num_bits, signed=grid.signed)
    return QParams.asymmetric(low, high, num_bits=grid.num_bits)
