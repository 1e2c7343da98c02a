"""The simple rules against the oracle."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import tensor_strategies as ts
from hypothesis import given
from hypothesis import strategies as st

from quantizers import PowerOfTwoHistogram, TensorStatistics
from quantizers.errors import ConfigError, NoCalibrationDataError
from quantizers.rules.thresholds import abs_max_threshold, average_threshold, moving_average_threshold, percentile_threshold

fractions = st.one_of(st.floats(1e-6, 1), st.sampled_from([0.5, 0.99, 0.9999, 0.99999, 1.0]))


@given(x=ts.tensors(), bins=st.sampled_from([2, 5, 16]), fraction=fractions)
def test_percentile_equals_the_oracle(x, bins, fraction):
    histogram = PowerOfTwoHistogram(bins)
    histogram.update(x)
    abs_max = float(np.abs(x).max())
    exponent, zeros, positive, negative = oracle.histogram(x.reshape(-1), bins)
    counts = [p + n for p, n in zip(positive, negative, strict=True)]
    found = percentile_threshold(histogram, fraction, abs_max)
    assert found == pytest.approx(oracle.percentile(counts, zeros, 2.0**exponent, fraction, abs_max), rel=1e-12, abs=0)
    assert 0 <= found <= abs_max
    assert (found > 0) == (abs_max > 0)


@given(x=ts.tensors(ts.moderate), one=fractions, other=fractions)
def test_percentile_grows_with_its_fraction(x, one, other):
    # Without zeros, for where zeros make up the fraction there is nothing to interpolate.
    x = np.where(x == 0, np.float32(1), x)
    histogram = PowerOfTwoHistogram(8)
    histogram.update(x)
    low, high = (percentile_threshold(histogram, f, float(np.abs(x).max())) for f in sorted((one, other)))
    assert low <= high


def test_percentile_of_a_known_distribution():
    histogram = PowerOfTwoHistogram(2048)
    histogram.update(np.linspace(-1, 1, 200_001, dtype=np.float32))
    for fraction in (0.1, 0.5, 0.999):
        assert percentile_threshold(histogram, fraction, 1.0) == pytest.approx(fraction, abs=1e-3)


def test_percentile_is_never_negative():
    # Nearly everything in the first bin: an index taken half a bin too low would be below zero.
    histogram = PowerOfTwoHistogram(2048)
    histogram.update(np.float32([1e-6] * 99_999 + [1.0]))
    assert 0 < percentile_threshold(histogram, 0.5, 1.0) < 1e-3


def test_percentile_of_mostly_zeros_keeps_the_rest():
    histogram = PowerOfTwoHistogram(64)
    histogram.update(np.float32([0.0] * 1000 + [3.0]))
    assert percentile_threshold(histogram, 0.99, 3.0) == 3.0


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, True, "0.9", None, float("nan")])
def test_bad_fraction(fraction):
    with pytest.raises(ConfigError, match="hist_percent"):
        percentile_threshold(PowerOfTwoHistogram(8), fraction, 1.0)


def test_average_is_over_samples_not_batches():
    statistics = TensorStatistics()
    statistics.update(np.float32([[1, -1], [2, 0], [3, 1]]))
    statistics.update(np.float32([[-10, 0]]))
    assert average_threshold(statistics) == 4.0
    assert abs_max_threshold(statistics) == 10.0


def test_nothing_to_compute_from():
    for rule in (abs_max_threshold, average_threshold, moving_average_threshold):
        with pytest.raises(NoCalibrationDataError):
            rule(TensorStatistics())
    statistics = TensorStatistics()
    statistics.update(np.ones((1, 1), np.float32))
    with pytest.raises(ConfigError, match="moving average"):
        moving_average_threshold(statistics)
