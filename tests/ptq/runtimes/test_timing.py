"""Interleaved timing and its statistics, on a clock that the test turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from ptq.runtimes.timing import SHORTEST, clock_for, compare, interleave


class Clock:
    """Shows the time that the runs were told to take; ``drift`` makes each run slower than the one before."""

    def __init__(self, drift: float = 0.0) -> None:
        self.now, self.drift, self.ran = 0.0, drift, list[str]()

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def go() -> None:
            self.now += seconds * (1 + self.drift * len(self.ran))
            self.ran.append(name)

        return go

    def __call__(self) -> float:
        return self.now


def test_each_round_runs_every_alternative_and_starts_with_another() -> None:
    clock = Clock()
    runs = {name: clock.run(name, 1.0) for name in "abc"}
    times = interleave(runs, rounds=4, seconds=0.0, clock=clock)
    assert clock.ran[9:] == list("abcbcacababc")  # two warm-ups and one trial run of each came first
    assert times == {name: [1.0] * 4 for name in "abc"}


def test_rounds_go_on_until_the_time_is_spent() -> None:
    clock = Clock()
    times = interleave({"a": clock.run("a", 0.25), "b": clock.run("b", 0.25)}, rounds=2, seconds=3.0, clock=clock)
    assert len(times["a"]) == len(times["b"]) == 6


def test_rounds_are_a_least_number_however_long_they_take() -> None:
    clock = Clock()
    assert len(interleave({"a": clock.run("a", 100.0)}, rounds=5, seconds=1.0, clock=clock)["a"]) == 5


def test_a_short_run_is_repeated_and_reported_once() -> None:
    clock = Clock()
    times = interleave({"a": clock.run("a", SHORTEST / 10)}, rounds=3, seconds=0.0, clock=clock)
    assert len(clock.ran) == pytest.approx(3 + 3 * 10, abs=3)  # rounding of the clock may add one repeat
    assert times["a"] == pytest.approx([SHORTEST / 10] * 3)


def test_a_clock_that_stands_still_ends() -> None:
    assert len(interleave({"a": lambda: None}, rounds=1, seconds=1.0, clock=lambda: 0.0)["a"]) == 1000


def test_settling_comes_before_each_measurement_and_is_not_measured() -> None:
    clock = Clock()
    runs = {name: clock.run(name, 1.0) for name in "ab"}
    times = interleave(runs, 2, 0.0, clock, settle=lambda run: (clock.run("pause", 5.0)(), run()))
    assert clock.ran[6:] == ["pause", "a", "a", "pause", "b", "b", "pause", "b", "b", "pause", "a", "a"]
    assert times == {"a": [1.0] * 2, "b": [1.0] * 2}


def test_a_machine_that_gets_slower_hardly_changes_the_ratio() -> None:
    clock = Clock(drift=0.01)
    times = interleave({"float": clock.run("float", 3.0), "int8": clock.run("int8", 1.0)}, 40, 0.0, clock)
    assert times["float"][-1] > 1.5 * times["float"][0]
    assert compare(times["float"], times["int8"]).ratio == pytest.approx(3.0, rel=0.01)


def test_ratio_and_quartiles_are_of_the_rounds() -> None:
    floats, int8 = [2.0, 6.0, 9.0, 4.0, 30.0], [1.0, 2.0, 9.0, 4.0, 3.0]
    ratios = [a / b for a, b in zip(floats, int8, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    speed = compare(floats, int8)
    assert (speed.low, speed.ratio, speed.high) == pytest.approx((low, median, high))
    assert (speed.float_ms, speed.int8_ms) == (statistics.median(floats) * 1e3, statistics.median(int8) * 1e3)
    assert speed.rounds == 5


def test_one_thread_is_timed_in_cpu_time() -> None:
    assert clock_for(1) is time.process_time
    assert clock_for(2) is time.perf_counter
