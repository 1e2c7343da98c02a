"""Ratios of channels by their cost: the smooth model's gradient, its optimum, and that nothing gets worse by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from ptq.convert.channel_costs import best_ratios
from ptq.convert.channel_descent import _GridTerm, _WeightTerm, descend
from ptq.convert.channel_ratios import RatioGrid, RatioReader
from quantizers import ChannelRanges

COUNT = 7


def grid(seed: int, labels: Any = None) -> RatioGrid:
    random = np.random.default_rng(seed)
    high = np.exp(random.uniform(-4, 4, COUNT - 1)).astype(np.float32)
    high[2] = 0  # a channel that is always zero
    own = np.arange(1, COUNT) if labels is None else labels
    step = float(high.max()) / 255
    return RatioGrid(own, ChannelRanges(np.zeros(COUNT - 1, np.float32), high), float(np.square(high).mean() / 9), 0.7, "unsigned", 8, step)


def reader(seed: int, groups: int = 1, per_output: bool = True, depthwise: bool = False) -> RatioReader:
    random = np.random.default_rng(seed)
    shape = (COUNT - 1, 1, 1, 9) if depthwise else (groups, 4, (COUNT - 1) // groups, 9)
    weight = (random.standard_normal(shape) * np.exp(random.uniform(-2, 2, (shape[0], 1, shape[2], 1)))).astype(np.float32)
    step = np.abs(weight).max(axis=(2, 3) if per_output else None, keepdims=True) / 127
    error = (weight - np.rint(weight / step) * step).astype(np.float32)
    return RatioReader(np.arange(1, COUNT), weight, error, 127, per_output, grid(seed).powers)


def exact_cost(found: RatioGrid, own: RatioReader, ratios: np.ndarray) -> float:
    """Noise on the results, in float64, written out: of the tensor's grid, and of the weights rounded anew."""
    each = ratios[found.labels]
    step = (found.ranges.high.astype(np.float64) / each).max() / 255
    weight = own.weight.astype(np.float64).reshape(-1, *own.weight.shape[2:])
    total = 0.0
    for group in range(own.weight.shape[0]):
        channels = np.arange(own.weight.shape[2]) + group * own.weight.shape[2]
        for row in weight[group * own.weight.shape[1] : (group + 1) * own.weight.shape[1]]:
            scaled = row * each[channels, None]
            grain = np.abs(scaled).max() / 127
            back = np.rint(scaled / grain) * grain / each[channels, None]
            live = (found.ranges.high[channels] > 0) * found.share / 12
            total += float((np.square(row).sum(axis=1) * live * np.square(step * each[channels])).sum())
            total += float((np.square(row - back).sum(axis=1) * own.powers[channels]).sum())
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient(seed: int) -> None:
    random = np.random.default_rng(seed)
    at = random.standard_normal(COUNT)
    groups = 1 + seed % 2
    for term in (_GridTerm(grid(seed), random.uniform(0.1, 1, COUNT)), _WeightTerm(reader(seed, groups, seed < 2), 0.3)):
        slope = np.zeros(COUNT)
        term.add_to(slope, at)
        np.testing.assert_allclose(slope, approx_fprime(at, lambda x, term=term: term.add_to(np.zeros(COUNT), x), 1e-7), atol=1e-4)


def test_the_smooth_model_is_convex_along_lines() -> None:
    random = np.random.default_rng(3)
    for seed in range(5):
        terms: list[Any] = [_GridTerm(grid(seed), np.ones(COUNT)), _WeightTerm(reader(seed), 0.2)]
        one, other = random.standard_normal((2, COUNT))
        values = [sum(term.add_to(np.zeros(COUNT), at) for term in terms) for at in (one, (one + other) / 2, other)]
        assert values[1] <= (values[0] + values[2]) / 2 + 1e-9


def test_the_descent_finds_the_optimum_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rounding weights costs nothing every channel gets the scale that it needs."""
    found = grid(1)
    assert found.needed(np.ones(COUNT - 1)).max() > 20 * np.median(found.needed(np.ones(COUNT - 1)))
    monkeypatch.setattr("ptq.convert.channel_descent.STEPS", 1000)  # from ones it is far
    ratios = descend([found], [reader(1, depthwise=True)], np.ones(COUNT), [0.0], np.ones(COUNT))
    needed = found.needed(np.ones(COUNT - 1))
    live = needed > 0
    own = ratios[1:][live] / needed[live]
    assert own.max() / own.min() < 3, "but for how far a norm of order 16 is from a maximum"


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_chosen_costs_less_by_an_independent_computation(seed: int, groups: int) -> None:
    found, own = grid(seed), reader(seed, groups)
    ratios, gain = best_ratios([found], [own], COUNT)
    assert ratios[0] == 1.0
    assert np.isfinite(ratios).all()
    assert (ratios > 0).all()
    before, after = exact_cost(found, own, np.ones(COUNT)), exact_cost(found, own, ratios)
    assert after <= before * (1 + 1e-6)
    assert gain == pytest.approx(10 * np.log10(before / after), abs=0.05)


def test_a_depthwise_reader_keeps_its_integers_and_gets_even_channels() -> None:
    found, own = grid(5), reader(5, depthwise=True)
    ratios, _ = best_ratios([found], [own], COUNT)
    assert own.keeps_integers
    assert own.noise_with(ratios) == own.noise
    needed = found.needed(np.ones(COUNT - 1))
    live = needed > 0
    np.testing.assert_allclose(ratios[1:][live], needed[live] / needed.max(), rtol=1e-5)


def test_fixed_channels_stay() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5])
    found, own = grid(6, labels), reader(6)
    fixed = RatioReader(labels, own.weight, own.error, own.levels, own.per_output, own.powers)
    ratios, gain = best_ratios([found], [fixed], COUNT - 1)
    assert ratios[0] == 1.0
    assert gain >= 0
