"""What was compared when layers were left float for speed, and what came out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FLOAT", "FULL", "TuningReport", "best_of", "compared"]

FLOAT, FULL = "float", "full"
# A ratio this much below 1 may be noise.
NOISE = 0.02
# Of alternatives that differ by less, the one that needs no choice of layers is taken.
TIE = 0.01
# So many dB less than that of ``full`` an alternative may have.
LOSS = 0.2


@dataclass(frozen=True)
class TuningReport:
    """Alternatives of one model, timed in turn.

    Attributes:
        runtime: as tables call it; threads, precision: of the runs, the latter of what is float.
        milliseconds: the median of one inference, by batch size and alternative: ``"float"``, ``"full"``, and those that were tried.
        ratios: the median of float's time over that of the alternative in the same round, likewise.
        decibels: the signal-to-noise ratio of each alternative's answers to calibration samples.
        left_float: how many of the layers each alternative leaves float.
        layers: how many there are.
        chosen: the alternative that was taken.
    """

    runtime: str
    threads: int
    precision: str
    milliseconds: Mapping[int, Mapping[str, float]]
    ratios: Mapping[int, Mapping[str, float]]
    decibels: Mapping[str, float]
    left_float: Mapping[str, int]
    layers: int
    chosen: str

    def lines(self) -> list[str]:
        """The report for people."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        lines = [f"placement fastest, measured in {self.runtime}, {threads}, float layers in {self.precision}:"]
        for name, count in self.left_float.items():
            parts = [f"batch {batch}: {times[name]:.2f} ms, {self.ratios[batch][name]:.2f}x" for batch, times in self.milliseconds.items()]
            mark = " <- taken" if name == self.chosen else ""
            accuracy = "" if name == FLOAT else f"; {self.decibels[name]:.1f} dB"
            lines.append(f"  {name}, {count} of {self.layers} layers float: {'; '.join(parts)}{accuracy}{mark}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON values."""
        return {
            "runtime": self.runtime,
            "threads": self.threads,
            "precision": self.precision,
            "milliseconds": {str(batch): dict(times) for batch, times in self.milliseconds.items()},
            "ratios": {str(batch): dict(ratios) for batch, ratios in self.ratios.items()},
            "decibels": dict(self.decibels),
            "left_float": dict(self.left_float),
            "layers": self.layers,
            "chosen": self.chosen,
        }


def compared(
    setting: tuple[str, int, str],
    times: Mapping[int, Mapping[str, Sequence[float]]],
    decibels: Mapping[str, float],
    left_float: Mapping[str, Collection[str]],
    layers: int,
) -> TuningReport:
    """The report of measured times.

    Args:
        setting: runtime, threads and precision.
        times: seconds of each alternative in each round, by batch size.
        decibels: of each alternative.
        left_float: the layers that each leaves float.
        layers: how many there are.
    """
    milliseconds = {batch: {name: float(np.median(found[name])) * 1e3 for name in left_float} for batch, found in times.items()}
    ratios = {
        batch: {name: float(np.median(np.asarray(found[FLOAT]) / np.asarray(found[name]))) for name in left_float}
        for batch, found in times.items()
    }
    counts = {name: len(left) for name, left in left_float.items()}
    return TuningReport(*setting, milliseconds, ratios, decibels, counts, layers, best_of(ratios, decibels))


def best_of(ratios: Mapping[int, Mapping[str, float]], decibels: Mapping[str, float]) -> str:
    """The fastest alternative over all batch sizes, of those that are as accurate as ``full`` and with no batch size slower than float.

    One that is slower than ``full`` with some batch size is taken only where all are; ``full``, or else float, where it is as fast as the
    best.
    """
    accurate = [name for name in decibels if decibels[name] >= decibels[FULL] - LOSS]
    safe = [name for name in accurate if all(found[name] >= 1 - NOISE for found in ratios.values())]
    never_slower = [name for name in safe if all(found[name] >= found[FULL] * (1 - NOISE) for found in ratios.values())]
    means = {name: float(np.exp(np.mean([np.log(found[name]) for found in ratios.values()]))) for name in never_slower or safe}
    best = max(means, key=means.__getitem__)
    return next((name for name in (FULL, FLOAT) if means.get(name, 0.0) >= means[best] * (1 - TIE)), best)
