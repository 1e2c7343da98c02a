"""The histogram against a loop over exact fractions, and its independence of batching and order."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import oracle
import pytest
import tensor_strategies as ts
from hypothesis import example, given
from hypothesis import strategies as st

from quantizers import PowerOfTwoHistogram
from quantizers.errors import ConfigError, NonFiniteError

values_lists = st.lists(ts.finite, min_size=1, max_size=40).map(np.float32)
bin_counts = st.sampled_from([1, 2, 3, 5, 8, 13])


def made_of(values, bins):
    histogram = PowerOfTwoHistogram(bins)
    histogram.update(np.asarray(values, dtype=np.float32))
    return histogram


@given(values=values_lists, bins=bin_counts)
@example(values=np.float32([1e-45, -1e-45, 2e-45, 0, -0.0]), bins=3)
@example(values=np.float32([3.4028235e38, 1e-45]), bins=1)
@example(values=np.float32([1.0, 2.0, 4.0, 8.0]), bins=2)
def test_counts_equal_the_oracle(values, bins):
    exponent, zeros, positive, negative = oracle.histogram(values, bins)
    histogram = made_of(values, bins)
    assert (histogram.exponent, histogram.zeros) == (exponent, zeros)
    assert histogram.counts.tolist() == [positive, negative]
    assert histogram.total == len(values)
    assert histogram.magnitude_counts.tolist() == [p + n for p, n in zip(positive, negative, strict=True)]
    assert histogram.edges.tolist() == [k * 2.0**exponent for k in range(2 * bins + 1)]


@given(values=values_lists, bins=bin_counts, data=st.data())
def test_batching_and_order_do_not_matter(values, bins, data):
    cuts = data.draw(ts.splits(len(values)))
    shuffled = values[data.draw(st.permutations(range(len(values))))]
    batched = PowerOfTwoHistogram(bins)
    for start, stop in pairwise(cuts):
        batched.update(shuffled[start:stop])
    assert batched == made_of(values, bins)


@given(values=values_lists, bins=bin_counts, data=st.data())
def test_merging_in_any_order_does_not_matter(values, bins, data):
    cuts = data.draw(ts.splits(len(values)))
    parts = [made_of(values[a:b], bins) for a, b in pairwise(cuts)]
    parts = [parts[i] for i in data.draw(st.permutations(range(len(parts))))]
    before = [part.copy() for part in parts]
    merged = PowerOfTwoHistogram(bins)
    for part in parts:
        merged.merge(part)
    assert merged == made_of(values, bins)
    assert parts == before


@given(values=values_lists, bins=bin_counts)
def test_the_largest_magnitude_has_the_resolution_asked_for(values, bins):
    histogram = made_of(values, bins)
    largest = float(np.abs(values).max())
    assert largest < histogram.edges[-1]
    if histogram.exponent > -149:
        assert largest >= bins * histogram.width


@given(values=values_lists, bins=bin_counts)
def test_state_round_trip(values, bins):
    histogram = made_of(values, bins)
    state = histogram.state()
    json.dumps({k: v for k, v in state.items() if k != "counts"})
    back = PowerOfTwoHistogram.from_state(state)
    assert back == histogram
    assert back.bins == bins
    back.update(np.float32([1.0]))
    assert histogram == made_of(values, bins)


def test_large_input_is_counted_in_chunks():
    values = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    values[::7] = 0
    whole = made_of(values, 64)
    assert whole.total == values.size
    assert whole.zeros == np.count_nonzero(values == 0)
    e = whole.exponent
    want, _ = np.histogram(np.abs(values[values < 0]).astype(np.float64), bins=np.arange(129) * 2.0**e)
    np.testing.assert_array_equal(whole.counts[1], want)


def test_memory_does_not_grow_with_the_range():
    histogram = made_of(np.float32([1e-3, -1e-3]), 2048)
    before = histogram.counts.nbytes
    for factor in (1.0, 5000.0, 25e6, 1e30):
        histogram.update(np.float32([1e-3 * factor]))
        assert histogram.counts.nbytes == before
    assert histogram.total == 6


def test_a_given_abs_max_fixes_the_range():
    histogram = PowerOfTwoHistogram(8)
    histogram.update(np.float32([0.1]), abs_max=100.0)
    assert histogram.exponent == oracle.exponent(100.0, 16)
    with pytest.raises(ConfigError, match="abs_max"):
        histogram.update(np.float32([2.0]), abs_max=1.0)


@pytest.mark.parametrize("bins", [0, -1, 2.0, True, None, "8"])
def test_bad_bins(bins):
    with pytest.raises(ConfigError, match="bins"):
        PowerOfTwoHistogram(bins)


def test_bad_data_and_bad_merges():
    histogram = made_of([1.0], 4)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(NonFiniteError):
            histogram.update(np.float32([1.0, bad]))
    assert histogram == made_of([1.0], 4)
    with pytest.raises(ConfigError, match="bins"):
        histogram.merge(PowerOfTwoHistogram(8))
    with pytest.raises(ConfigError, match="counts"):
        PowerOfTwoHistogram.from_state({"counts": np.zeros((3, 4)), "zeros": 0, "exponent": 0})
    histogram.update(np.zeros((0,), np.float32))
    assert histogram == made_of([1.0], 4)
    assert histogram != "histogram"
    assert "total=1" in repr(histogram)
