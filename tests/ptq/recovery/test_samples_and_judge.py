"""Samples are divided without loss, and models are judged as NumPy would."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ptq.calibration.seen import Sample
from ptq.recovery.judge import CAP, Judge, mean_sqnr
from ptq.recovery.samples import divide, keep, pieces, size_of
from quantizers.errors import ConfigError, NoCalibrationDataError


def calls(*sizes: int) -> list[Sample]:
    start = 0
    found = []
    for size in sizes:
        found.append(Sample.of(((paddle.arange(start, start + size, dtype="float32"),), {})))
        start += size
    return found


def numbers(samples: list[Sample]) -> list[float]:
    return [float(value) for sample in samples for value in sample.call()[0][0].numpy()]


@pytest.mark.parametrize("sizes", [(64, 64, 64), (100,), (1,) * 70, (30, 3, 31)])
def test_every_sample_is_on_one_side(sizes: tuple[int, ...]) -> None:
    fit, held = divide(calls(*sizes))
    assert sorted(numbers(fit) + numbers(held)) == list(range(sum(sizes)))
    assert len(numbers(held)) == max(16, -(-sum(sizes) // 4))
    again = divide(calls(*sizes))
    assert numbers(again[1]) == numbers(held)


def test_few_samples_are_halved_and_one_serves_for_both() -> None:
    fit, held = divide(calls(5, 5))
    assert (len(numbers(fit)), len(numbers(held))) == (5, 5)
    fit, held = divide(calls(1))
    assert numbers(fit) == numbers(held) == [0.0]


def test_calls_are_kept_as_far_as_they_fit() -> None:
    assert len(keep((sample.call() for sample in calls(4, 4, 4)), 32)) == 2
    assert len(keep((sample.call() for sample in calls(4, 4)), 1)) == 1
    with pytest.raises(NoCalibrationDataError, match="no calibration samples"):
        keep([], 1)


def test_a_call_in_pieces() -> None:
    (sample,) = calls(7)
    assert [size_of(part) for part in pieces(sample, 3)] == [3, 3, 1]
    assert numbers(pieces(sample, 3)) == numbers([sample])
    mixed = Sample.of(((paddle.zeros([3]), paddle.zeros([4])), {}))
    assert size_of(mixed) == 1
    assert pieces(mixed, 1) == [mixed]


def test_the_metric_is_the_mean_over_outputs_in_db() -> None:
    random = np.random.default_rng(0)
    wanted = [[random.standard_normal((4, 3)), random.standard_normal(5)] for _ in range(2)]
    noisy = [[a + 0.1 * random.standard_normal(a.shape) for a in call] for call in wanted]
    expected = np.mean(
        [
            10
            * np.log10(sum((w[i] ** 2).sum() for w in wanted) / sum(((w[i] - n[i]) ** 2).sum() for w, n in zip(wanted, noisy, strict=True)))
            for i in (0, 1)
        ]
    )
    assert mean_sqnr(wanted, noisy) == pytest.approx(expected)
    assert mean_sqnr(wanted, wanted) == CAP
    assert mean_sqnr([[np.zeros(2)]], [[np.ones(2)]]) == CAP  # nothing to compare
    assert mean_sqnr([[np.ones(2)]], [[np.array([1.0, np.nan])]]) == -np.inf


def test_a_metric_of_the_users_own() -> None:
    model = nn.Linear(1, 1)
    judge = Judge(model, calls(3)[:0] or [Sample.of(((paddle.ones([3, 1]),), {}))], lambda expected, answers: len(expected) + len(answers))
    assert judge(model) == 2.0
    with pytest.raises(ConfigError, match="metric must return a number"):
        Judge(model, judge.samples, lambda _expected, _answers: "good")(model)  # type: ignore[arg-type,return-value]


def test_the_error_of_a_gain_is_that_of_a_mean_where_the_metric_is_one() -> None:
    """Closed form: the standard deviation of the paired differences over the root of their number, however they lie in calls."""
    random = np.random.default_rng(1)
    expected, before, after = random.standard_normal((3, 12)).astype(np.float32)

    def calls_of(values: np.ndarray) -> list[list[np.ndarray]]:
        return [[values[:5, None]], [values[5:6, None]], [values[6:, None]]]

    def metric(wanted: Any, found: Any) -> float:
        return -float(np.concatenate([(b - a) ** 2 for (a,), (b,) in zip(wanted, found, strict=True)]).mean())

    judge = Judge(nn.Linear(1, 1), calls(5, 1, 6), metric)
    judge._expected = calls_of(expected)
    gains = (before - expected) ** 2 - (after - expected) ** 2
    error = judge.uncertainty(calls_of(before), calls_of(after))
    assert error == pytest.approx(gains.std(ddof=1) / np.sqrt(12), rel=1e-5)
    assert judge.uncertainty(calls_of(after), calls_of(after)) == 0.0


def test_without_several_samples_or_finite_figures_nothing_is_said_of_the_error() -> None:
    judge = Judge(nn.Linear(1, 1), calls(1))
    judge._expected = [[np.ones((1, 2), dtype=np.float32)]]
    assert judge.uncertainty([[np.zeros((1, 2))]], [[np.ones((1, 2))]]) == 0.0
    judge = Judge(nn.Linear(1, 1), calls(4))
    judge._expected = [[np.ones((4, 2), dtype=np.float32)]]
    assert judge.uncertainty([[np.full((4, 2), np.nan)]], [[np.ones((4, 2))]]) == 0.0
