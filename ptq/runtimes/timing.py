"""Times alternatives in turn, so that whatever slows the machine slows all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .profile import Run

__all__ = ["Speed", "clock_for", "compare", "interleave"]

WARM_UP = 2
# A single run of a small model is too short for the clock: it is repeated until this many seconds have passed.
SHORTEST = 0.01
MOST_ROUNDS = 1000


@dataclass(frozen=True)
class Speed:
    """How int8 compares with float: medians in milliseconds, and of the ratio float / int8 of each round the median and the quartiles."""

    float_ms: float
    int8_ms: float
    ratio: float
    low: float
    high: float
    rounds: int


def interleave(
    runs: Mapping[str, Run],
    rounds: int,
    seconds: float,
    clock: Callable[[], float],
    settle: Callable[[Run], object] | None = None,
) -> dict[str, list[float]]:
    """Seconds of one run of each alternative, in each round.

    Args:
        runs: the alternatives by name; each round starts with another one.
        rounds: at least so many.
        seconds: as many more until the time measured in all has reached this.
        clock: the present time in seconds.
        settle: called before each measurement with what is about to be measured.
    """
    repeats = {name: _repeats(run, clock) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, spent = list(runs), 0.0
    for done in range(MOST_ROUNDS):
        if done >= rounds and spent >= seconds:
            break
        for name in order:
            if settle is not None:
                settle(runs[name])
            elapsed = _elapsed(runs[name], repeats[name], clock)
            times[name].append(elapsed / repeats[name])
            spent += elapsed
        order = order[1:] + order[:1]
    return times


def _repeats(run: Run, clock: Callable[[], float]) -> int:
    for _ in range(WARM_UP):
        run()
    once = _elapsed(run, 1, clock)
    return min(MOST_ROUNDS, math.ceil(SHORTEST / once)) if once > 0 else MOST_ROUNDS


def _elapsed(run: Run, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        run()
    return clock() - start


def compare(floats: Sequence[float], int8: Sequence[float]) -> Speed:
    """The comparison of seconds measured in the same rounds."""
    ratios = np.asarray(floats) / np.asarray(int8)
    low, ratio, high = (float(value) for value in np.percentile(ratios, [25, 50, 75]))
    return Speed(float(np.median(floats)) * 1e3, float(np.median(int8)) * 1e3, ratio, low, high, len(ratios))


def clock_for(threads: int) -> Callable[[], float]:
    """CPU time of the process for one thread, which other programs disturb least; wall time for more."""
    return time.process_time if threads == 1 else time.perf_counter
