"""Grids per channel with one zero point, against every zero point tried in turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantizers import ChannelRanges, channel_grid, one_scale
from quantizers.errors import ConfigError


def cost(low: np.ndarray, high: np.ndarray, gains: np.ndarray, zero: int, quant_max: int) -> float:
    """By the definition, channel by channel: the step that clips nothing, squared, times the gain."""
    total = 0.0
    for a, b, gain in zip(np.minimum(low, 0), np.maximum(high, 0), gains, strict=True):
        above = 0.0 if b == 0 else (np.inf if zero == quant_max else b / (quant_max - zero))
        below = 0.0 if a == 0 else (np.inf if zero == 0 else -a / zero)
        total += gain * max(above, below) ** 2
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([2, 4, 8]))
def test_the_zero_point_costs_least(seed: int, channels: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    ends = random.standard_normal((2, channels)) * np.exp(random.uniform(-3, 3, channels))
    low, high = ends.min(axis=0).astype(np.float32), ends.max(axis=0).astype(np.float32)
    gains = random.uniform(0.1, 2, channels)
    grid = channel_grid(ChannelRanges(low, high), "asymmetric", gains, num_bits=bits)
    (zero,) = set(grid.zero_point.tolist())
    best = min(cost(low, high, gains, z, 2**bits - 1) for z in range(2**bits))
    assert cost(low, high, gains, zero, 2**bits - 1) <= best * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["unsigned", "symmetric", "asymmetric"])
def test_nothing_is_clipped_and_no_step_is_wasted(kind: str) -> None:
    low = np.zeros(3) if kind == "unsigned" else np.array([-0.375, -0.375, -1.0])
    high = np.array([40.0, 0.5, 1.0])
    grid = channel_grid(ChannelRanges(low, high), kind, [1, 1, 1])  # type: ignore[arg-type]
    reals = (np.stack([np.full(3, 0), np.full(3, 255)]) - grid.zero_point) * grid.scale.astype(np.float64)
    slack = 1e-6 * grid.scale
    assert (reals[0] <= low + slack).all()
    assert (reals[1] >= high - slack).all()
    assert (np.isclose(reals[0], low, rtol=1e-6) | np.isclose(reals[1], high, rtol=1e-6)).all()


def test_a_dead_channel_takes_the_largest_scale() -> None:
    grid = channel_grid(ChannelRanges([0, 0, 0], [255, 0, 51]), "unsigned", [1, 0, 1])
    np.testing.assert_allclose(grid.scale, [1.0, 1.0, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(channel_grid(ChannelRanges([0], [0]), "unsigned", [1]).scale, [1.0])


def test_one_scale_and_ratios_are_the_grid_again() -> None:
    grid = channel_grid(ChannelRanges([-1, -0.01], [3, 0.5]), "asymmetric", [1, 1])
    integers, ratios = one_scale(grid)
    assert integers.scale.ndim == 0
    assert ratios.max() == 1.0
    np.testing.assert_allclose(integers.scale * ratios, grid.scale, rtol=1e-6)
    assert {int(integers.zero_point)} == set(grid.zero_point.tolist())


@pytest.mark.parametrize("gains", [[1.0], [1.0, -1.0], [[1.0, 1.0]]])
def test_gains_that_do_not_fit_are_refused(gains: list[float]) -> None:
    with pytest.raises(ConfigError, match="gains"):
        channel_grid(ChannelRanges([0, 0], [1, 1]), "unsigned", gains)
