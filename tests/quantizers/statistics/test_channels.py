"""Ranges of channels: exact, for any batching and order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantizers import ChannelRanges, ItemRanges, TensorSummary
from quantizers.errors import ConfigError, ShapeError


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.integers(1, 4))
def test_it_is_the_range_of_every_channel(seed: int, batch: int, channels: int, size: int) -> None:
    array = np.random.default_rng(seed).standard_normal((batch, channels, size, size + 1)).astype(np.float32)
    found = ChannelRanges.of(array, 1)
    for channel in range(channels):
        assert found.low[channel] == min(array[:, channel].ravel())
        assert found.high[channel] == max(array[:, channel].ravel())


def test_batches_in_any_order_give_what_one_gives() -> None:
    array = np.random.default_rng(0).standard_normal((6, 3, 4)).astype(np.float32)
    forward, backward = ChannelRanges.of(array[:2], 1), ChannelRanges.of(array[5:], 1)
    for start in (2, 4):
        forward.merge(ChannelRanges.of(array[start : start + 2], 1))
    backward.merge(ChannelRanges.of(array[:5], 1))
    assert forward == backward == ChannelRanges.of(array, 1)


def test_channels_may_be_last_or_the_only_axis() -> None:
    array = np.array([[1.0, -2.0], [3.0, 5.0]], dtype=np.float32)
    assert ChannelRanges.of(array, -1) == ChannelRanges([1, -2], [3, 5])
    assert ChannelRanges.of(array[0], 0) == ChannelRanges([1, -2], [1, -2])


def test_what_is_no_range_is_refused() -> None:
    with pytest.raises(ConfigError):
        ChannelRanges([1.0], [0.0])
    with pytest.raises(ConfigError):
        ChannelRanges([1.0], [2.0, 3.0])
    with pytest.raises(ShapeError, match=r"here: .*axis 2"):
        ChannelRanges.of(np.zeros((2, 2), np.float32), 2, where="here")
    with pytest.raises(ShapeError, match="3 and 2 channels"):
        ChannelRanges([0] * 3, [1] * 3).merge(ChannelRanges([0] * 2, [1] * 2))


@pytest.mark.parametrize(("shape", "axis"), [((3, 4, 5, 5), 1), ((3, 5, 5, 4), -1), ((3, 4), 1), ((4,), 0), ((2, 3, 4, 5), 2)])
def test_a_summary_by_known_ranges_is_the_summary(shape: tuple[int, ...], axis: int) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    ranges = ItemRanges.of(array, axis)
    assert ranges.low.shape[1] == 4
    assert ranges.channels() == ChannelRanges.of(array, axis)
    for items in (None, 1):
        found, plain = TensorSummary.of(array, items=items, ranges=ranges), TensorSummary.of(array, items=items)
        assert {**vars(found), "histogram": found.histogram.state()["counts"].tolist()} == {
            **vars(plain),
            "histogram": plain.histogram.state()["counts"].tolist(),
        }


def test_known_ranges_save_the_scan() -> None:
    array = np.ones((2, 3, 4), np.float32)
    ranges = ItemRanges(np.array([[-7.0], [-1.0]], np.float32), np.array([[2.0], [9.0]], np.float32))
    found = TensorSummary.of(array, ranges=ranges)
    assert (found.low, found.high) == (-7.0, 9.0)


def test_what_is_not_finite_stays_visible() -> None:
    array = np.ones((2, 3, 4), np.float32)
    array[1, 2, 3] = np.nan
    assert not TensorSummary.of(array, ranges=ItemRanges.of(array, 1)).finite
