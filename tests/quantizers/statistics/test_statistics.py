"""Statistics against the oracle, and their independence of batching, order and sharding."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import oracle
import paddle
import pytest
import tensor_strategies as ts
from hypothesis import given
from hypothesis import strategies as st

from quantizers import SummarySettings, TensorStatistics, TensorSummary
from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError
from quantizers.statistics.summary import sample_stride

limits = st.sampled_from([None, 1, 2, 5, 50])


def collected(batches, bins=4, limit=None, **kwargs):
    statistics = TensorStatistics(bins, limit, **kwargs)
    for batch in batches:
        statistics.update(batch)
    return statistics


@given(x=ts.tensors(), limit=limits)
def test_statistics_equal_the_oracle(x, limit):
    statistics = collected([x], limit=limit)
    rows = x.reshape(len(x), -1)
    assert (statistics.low, statistics.high, statistics.abs_max) == (x.min(), x.max(), np.abs(x).max())
    assert statistics.mean_abs_max == oracle.mean(np.abs(rows).max(axis=1))
    assert statistics.mean_low == oracle.mean(rows.min(axis=1))
    assert statistics.mean_high == oracle.mean(rows.max(axis=1))
    assert (statistics.elements, statistics.items, statistics.batches) == (x.size, len(x), 1)
    positions = oracle.sample_positions(rows.shape[1], limit)
    sampled = rows[:, positions].reshape(-1)
    # The range is that of the whole tensor: the oracle gets the extreme too, and it is taken out again.
    exponent = oracle.exponent(float(np.abs(x).max()), 8)
    counts = [[0] * 8, [0] * 8]
    for value in sampled[sampled != 0]:
        counts[int(value < 0)][math.floor(abs(float(value)) / 2.0**exponent)] += 1
    assert statistics.histogram.exponent == exponent
    assert statistics.histogram.counts.tolist() == counts
    assert statistics.zeros == np.count_nonzero(sampled == 0)


@given(x=ts.tensors(), limit=limits, data=st.data())
def test_batching_order_and_sharding_do_not_matter(x, limit, data):
    cuts = data.draw(ts.splits(len(x)))
    order = data.draw(st.permutations(range(len(cuts) - 1)))
    batches = [x[cuts[i] : cuts[i + 1]] for i in order]
    whole = collected([x], limit=limit)
    in_batches = collected(batches, limit=limit)
    merged = TensorStatistics(4, limit)
    for batch in reversed(batches):
        shard = collected([batch], limit=limit)
        before = shard.copy()
        merged.merge(shard)
        assert shard == before
    assert merged == in_batches
    assert in_batches.batches == len(batches)
    # The number of batches is all that may differ from one pass.
    in_batches.batches = whole.batches
    assert in_batches == whole


@given(x=ts.tensors(), limit=limits, rate=st.sampled_from([None, 0.5]))
def test_state_round_trip_is_exact(x, limit, rate):
    statistics = collected([x, x[:1] * 0], limit=limit, moving_rate=rate)
    state = statistics.state()
    meta = json.loads(json.dumps(state["meta"], allow_nan=False))
    back = TensorStatistics.from_state({"meta": meta, "arrays": state["arrays"]})
    assert back == statistics
    assert copy.deepcopy(statistics) == pickle.loads(pickle.dumps(statistics)) == statistics
    back.update(x)
    assert back != statistics
    statistics.update(x)
    assert back == statistics


@given(size=st.integers(1, 5000), limit=st.integers(1, 600))
def test_sampling_stride(size, limit):
    stride = sample_stride(size, limit)
    positions = range(0, size, stride)
    assert list(positions) == oracle.sample_positions(size, limit)
    assert len(positions) <= limit
    assert math.gcd(stride, size) == 1
    assert sample_stride(size, None) == 1


def test_sampling_sees_every_column_and_channel():
    x = np.zeros((1, 16, 64, 64), np.float32)
    x[..., 3] = 1.0  # one column of 64: a stride of 8 or 64 would see all or nothing of it
    statistics = collected([x], limit=8192)
    share = 1 - statistics.zeros / statistics.histogram.total
    assert 0.5 / 64 < share < 2 / 64


def test_extremes_are_exact_where_the_sample_misses_them():
    x = np.zeros((2, 100_000), np.float32)
    x[1, 12_345], x[0, 54_321] = 7.5, -9.25
    statistics = TensorStatistics()
    statistics.update(x)
    assert (statistics.low, statistics.high, statistics.abs_max) == (-9.25, 7.5, 9.25)
    assert statistics.histogram.edges[-1] > 9.25
    assert statistics.histogram.total <= 2 * 8192


def test_items_sees_the_batch_in_a_folded_axis():
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    folded = TensorSummary.of(x, items=2)
    assert (folded.items, folded.sum_abs_max >> 149) == (2, 11 + 23)
    assert TensorSummary.of(x, items=5).items == 6  # 5 does not divide 24
    assert TensorSummary.of(x).items == 6
    assert TensorSummary.of(np.float32(3)).items == 1
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ConfigError, match="items"):
            TensorSummary.of(x, items=bad)


def test_layouts_of_memory_do_not_matter():
    x = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
    assert collected([np.asfortranarray(x)]) == collected([x])
    assert collected([paddle.to_tensor(x)]) == collected([x])
    assert collected([x[::-1]]) == collected([x])


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
@pytest.mark.parametrize("position", [0, 7, 29])
def test_non_finite_names_the_tensor_and_the_batch_and_is_never_forgotten(bad, word, position):
    good = np.ones((3, 10), np.float32)
    broken = good.copy()
    broken.reshape(-1)[position] = bad
    statistics = TensorStatistics()
    statistics.update(good, where="conv1 input")
    with pytest.raises(NonFiniteError, match=f"conv1 input: batch 1 holds {word}"):
        statistics.update(broken, where="conv1 input")
    statistics.update(good, where="conv1 input")
    for usable in (statistics, TensorStatistics.from_state(statistics.state())):
        with pytest.raises(NonFiniteError, match="batch 1"):
            usable.check_usable()
        with pytest.raises(NonFiniteError, match="batch 1"):
            usable.mean_abs_max  # noqa: B018
    clean = collected([good], 2048, 8192)
    clean.merge(statistics)
    with pytest.raises(NonFiniteError, match="batch 1"):
        clean.check_usable()


def test_merging_a_clean_shard_into_a_poisoned_one_keeps_the_poison_whatever_the_order():
    shards = []
    for name in ("b", "a", "clean"):
        shard = TensorStatistics()
        if name == "clean":
            shard.update(np.ones((1, 1), np.float32))
        else:
            with pytest.raises(NonFiniteError):
                shard.update(np.float32([[np.nan]]), where=name)
        shards.append(shard)
    results = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        merged = TensorStatistics()
        for index in order:
            merged.merge(shards[index])
        results.append(merged)
    assert results[0] == results[1] == results[2]
    assert results[0].poisoned


def test_moving_average_follows_paddles_rule_and_cannot_be_merged():
    statistics = TensorStatistics(moving_rate=0.5)
    for value in (4.0, -2.0, 8.0):
        statistics.update(np.float32([[value, 0.0]]))
    assert statistics.moving is not None
    assert statistics.moving.value == pytest.approx((4 * 0.25 + 2 * 0.5 + 8) / 1.75, rel=1e-15)
    for one, other in ((statistics, TensorStatistics()), (TensorStatistics(), statistics)):
        with pytest.raises(CalibrationError, match="order"):
            one.merge(other)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, True, "0.9", float("nan")])
def test_bad_moving_rate(rate):
    with pytest.raises(ConfigError, match="moving_rate"):
        TensorStatistics(moving_rate=rate)


def test_no_data():
    statistics = TensorStatistics()
    with pytest.raises(NoCalibrationDataError, match="conv1 input"):
        statistics.check_usable("conv1 input")
    with pytest.raises(NoCalibrationDataError):
        statistics.mean_high  # noqa: B018
    assert TensorStatistics.from_state(json.loads(json.dumps({"meta": statistics.state()["meta"]})) | statistics.state()) == statistics
    with pytest.raises(NoCalibrationDataError):
        TensorStatistics(moving_rate=0.5).moving.value  # noqa: B018


def test_settings_must_agree():
    with pytest.raises(ConfigError, match="does not fit"):
        TensorStatistics(8).add(TensorSummary.of(np.ones(3, np.float32), bins=16))
    with pytest.raises(ConfigError, match="cannot be merged"):
        TensorStatistics(8).merge(TensorStatistics(8, None))
    for bad in ({"bins": 0}, {"bins": None}, {"max_samples_per_item": 0}, {"max_samples_per_item": 1.5}, {"bins": True}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            SummarySettings(**bad)


def test_bad_state():
    state = TensorStatistics(4).state()
    with pytest.raises(ConfigError, match="version"):
        TensorStatistics.from_state({"meta": {**state["meta"], "version": 2}, "arrays": state["arrays"]})
    with pytest.raises(ConfigError, match="state"):
        TensorStatistics.from_state({"meta": {"version": 1}, "arrays": {}})
    with pytest.raises(ConfigError, match="does not fit"):
        TensorStatistics.from_state({"meta": {**state["meta"], "bins": 5}, "arrays": state["arrays"]})


def test_memory_does_not_grow_with_data_or_range():
    statistics = TensorStatistics(bins=256, max_samples_per_item=None)
    rng = np.random.default_rng(0)
    sizes = set()
    for scale in (1e-3, 1.0, 5000.0, 2.5e7):
        statistics.update(rng.standard_normal((2, 1000)).astype(np.float32) * np.float32(scale))
        sizes.add(sum(array.nbytes for array in statistics.state()["arrays"].values()))
    assert len(sizes) == 1
    assert statistics.histogram.total == 8000
