"""The KL search against a bin-by-bin oracle over the same cuts."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantizers import PowerOfTwoHistogram, TensorStatistics
from quantizers.rules.search_kl import kl_cut, kl_divergences, kl_levels, kl_threshold


def random_counts(rng, size):
    """Histograms of many characters: smooth, spiky, sparse, long-tailed, with empty ends."""
    kind = rng.integers(5)
    k = np.arange(size)
    if kind == 0:
        counts = rng.poisson(1000 * np.exp(-0.5 * (k / (size * rng.uniform(0.05, 0.6))) ** 2))
    elif kind == 1:
        counts = rng.integers(0, 100, size)
    elif kind == 2:
        counts = rng.integers(0, 1000, size) * (rng.random(size) < 0.15)
    elif kind == 3:
        counts = rng.poisson(1e5 / (1 + k) ** rng.uniform(1, 3))
    else:
        counts = rng.poisson(rng.uniform(0.1, 3), size)
    if rng.random() < 0.3:
        counts[rng.integers(1, size) :] = 0
    if rng.random() < 0.3:
        counts[-1] = rng.integers(1, 50)
    return counts.astype(np.int64)


def assert_best(counts, levels, step):
    divergences = oracle.kl_all(counts.tolist(), levels, step)
    found = kl_cut(counts, levels, step)
    cuts = np.array(list(divergences))
    ours = kl_divergences(counts, levels, cuts)
    np.testing.assert_allclose(ours, list(divergences.values()), rtol=1e-9, atol=1e-12)
    least = min(divergences.values())
    # Where two cuts are equal but for rounding, either is right.
    assert found in divergences
    assert divergences[found] <= least + 1e-12
    assert math.isfinite(least)


@pytest.mark.parametrize("seed", range(12))
def test_argmin_equals_the_oracle_on_many_random_histograms(seed):
    rng = np.random.default_rng(seed)
    searched = 0
    while searched < 100:
        size, levels, step = int(rng.integers(6, 48)), int(rng.integers(2, 12)), int(rng.integers(1, 4))
        counts = random_counts(rng, size)
        if counts.any() and size > levels:
            assert_best(counts, levels, step)
            searched += 1


@pytest.mark.parametrize(("seed", "levels"), [(0, 128), (1, 256), (2, 200)])
def test_full_size(seed, levels):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(2000 * np.exp(-np.arange(3000) / 300)).astype(np.int64)
    counts[2999] = 1
    assert_best(counts, levels, 100)


def test_chosen_cut_clips_a_lone_outlier():
    counts = np.random.default_rng(0).poisson(10_000 * np.exp(-0.5 * (np.arange(400) / 30) ** 2)).astype(np.int64)
    counts[399] = 1
    assert 60 <= kl_cut(counts, 32, 1) <= 130


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=30), levels=st.integers(1, 40))
def test_cut_is_always_a_candidate(counts, levels):
    cut = kl_cut(np.array(counts, np.int64), levels, 2)
    assert cut <= len(counts)
    assert cut == len(counts) or (cut >= levels and (len(counts) - cut) % 2 == 0)
    if levels >= len(counts):
        assert cut == len(counts)


def test_threshold_is_in_the_tensors_unit_and_never_above_abs_max():
    rng = np.random.default_rng(3)
    x = rng.standard_normal(50_000).astype(np.float32)
    x[0] = 40.0
    for scale in (2.0**-20, 1.0, 2.0**20):
        histogram = PowerOfTwoHistogram(2048)
        histogram.update(x * np.float32(scale))
        threshold = kl_threshold(histogram, 128, 40.0 * scale)
        assert threshold == kl_threshold(histogram, 128, 40.0 * scale)
        assert 2 < threshold / scale < 8
        assert kl_threshold(histogram, 5000, 40.0 * scale) == 40.0 * scale


def test_threshold_of_nothing_clipped_is_abs_max_exactly():
    x = np.full(100, 0.7, np.float32)
    histogram = PowerOfTwoHistogram(64)
    histogram.update(x)
    assert kl_threshold(histogram, 8, float(x[0])) == float(x[0])


def test_levels_are_what_the_grid_has_for_magnitudes():
    statistics = TensorStatistics()
    statistics.update(np.float32([[-0.375, 3.625]]))
    assert kl_levels(statistics, "unsigned", 8) == 256
    assert kl_levels(statistics, "symmetric", 8) == 128
    assert kl_levels(statistics, "asymmetric", 8) == round(256 * 3.625 / 4)
    assert kl_levels(statistics, "symmetric", 4) == 8
    even = TensorStatistics()
    even.update(np.float32([[-2, 2]]))
    assert kl_levels(even, "asymmetric", 8) == 128
    zero = TensorStatistics()
    zero.update(np.float32([[0, 0]]))
    assert kl_levels(zero, "asymmetric", 8) == 256
