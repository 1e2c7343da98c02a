"""Which alternative is taken, and how that is told."""

from __future__ import annotations

import json

from ptq.tuning.report import FLOAT, FULL, best_of, compared

EQUAL = {FULL: 30.0, FLOAT: 200.0, "choice1": 30.0, "choice2": 30.0}


def ratios(*figures: tuple[float, float, float, float]) -> dict[int, dict[str, float]]:
    return {batch: dict(zip(EQUAL, each, strict=True)) for batch, each in enumerate(figures)}


def test_the_fastest_over_all_batch_sizes_is_taken() -> None:
    assert best_of(ratios((1.5, 1.0, 2.0, 1.8), (1.5, 1.0, 1.6, 2.2)), EQUAL) == "choice2"


def test_none_that_is_slower_than_float_with_some_batch_size() -> None:
    assert best_of(ratios((0.9, 1.0, 0.9, 1.05), (3.0, 1.0, 3.0, 1.05)), EQUAL) == "choice2"
    assert best_of(ratios((0.5, 1.0, 0.9, 0.9)), EQUAL) == FLOAT


def test_one_that_is_slower_than_full_with_some_batch_size_only_where_all_are() -> None:
    assert best_of(ratios((1.4, 1.0, 1.2, 1.5), (1.5, 1.0, 2.5, 1.6)), EQUAL) == "choice2"
    assert best_of(ratios((0.5, 1.0, 1.2, 1.1), (3.0, 1.0, 2.0, 1.9)), EQUAL) == "choice1"


def test_none_that_is_less_accurate_than_full() -> None:
    assert best_of(ratios((1.5, 1.0, 2.0, 1.8)), {**EQUAL, "choice1": 29.7}) == "choice2"
    assert best_of(ratios((1.5, 1.0, 2.0, 1.8)), {**EQUAL, "choice1": 29.9}) == "choice1"


def test_no_layers_are_chosen_for_what_may_be_noise() -> None:
    assert best_of(ratios((0.5, 1.0, 1.005, 1.0)), EQUAL) == FLOAT
    assert best_of(ratios((1.5, 1.0, 1.51, 1.4)), EQUAL) == FULL
    assert best_of(ratios((1.0, 1.0, 1.005, 1.0)), EQUAL) == FULL


def test_the_report_names_what_was_compared() -> None:
    times = {8: {FULL: [0.002, 0.004, 0.002], FLOAT: [0.003, 0.006, 0.003]}}
    report = compared(("OpenVINO", 1, "bf16"), times, {FULL: 31.5, FLOAT: 200.0}, {FULL: [], FLOAT: ["a", "b"]}, 2)
    assert report.lines() == [
        "placement fastest, measured in OpenVINO, 1 thread, float layers in bf16:",
        "  full, 0 of 2 layers float: batch 8: 2.00 ms, 1.50x; 31.5 dB <- taken",
        "  float, 2 of 2 layers float: batch 8: 3.00 ms, 1.00x",
    ]
    found = json.loads(json.dumps(report.to_dict()))
    assert (found["chosen"], found["ratios"], found["precision"]) == (FULL, {"8": {FULL: 1.5, FLOAT: 1.0}}, "bf16")
