"""Errors of grids and the search for the least one, against loops over every bin."""

from __future__ import annotations

import tracemalloc

import numpy as np
import oracle
import pytest
import tensor_strategies as ts
from hypothesis import given
from hypothesis import strategies as st

from quantizers import QParams, Range, TensorStatistics, absolute_error, grid_of_range, squared_error
from quantizers.errors import ConfigError, NoCalibrationDataError, NonFiniteError
from quantizers.grids.grid_error import PointMasses, grid_errors
from quantizers.grids.ranges import full_range
from quantizers.rules.search_error import candidate_ranges, least_error_range, range_errors

KINDS = ["unsigned", "symmetric", "asymmetric"]


def statistics_of(x, bins=64):
    statistics = TensorStatistics(bins, None)
    statistics.update(np.asarray(x, np.float32).reshape(1, -1))
    return statistics


def random_tensor(seed, kind, size=400):
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal, rng.standard_cauchy, rng.standard_exponential, rng.random][seed % 4](size)
    x = x * 10.0 ** rng.integers(-6, 6)
    x[rng.random(size) < 0.2] = 0
    if seed % 3 == 0:
        x = x * np.clip(x + 3, 0, 6) / 6
    return np.abs(x) if kind == "unsigned" else np.where(rng.random(size) < 0.4, -x, x)


def brute_force(statistics, grid, power):
    histogram = statistics.histogram
    points = oracle.points_of(histogram.exponent, *histogram.counts.tolist())
    bounds = (grid.quant_min, grid.quant_max)
    return oracle.mean_error(points, histogram.zeros, float(grid.scale), int(grid.zero_point), *bounds, power)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_error_of_a_grid_equals_the_sum_over_every_bin(seed, kind, power):
    statistics = statistics_of(random_tensor(seed, kind))
    rng = np.random.default_rng(seed)
    whole = full_range(statistics, kind)
    for bits in (2, 3, 4, 5):
        low, high = whole.low * rng.uniform(0.02, 1.3), whole.high * rng.uniform(0.02, 1.3)
        grid = grid_of_range(Range(low, high), kind, bits)
        found = (squared_error if power == 2 else absolute_error)(statistics, grid)
        assert found == pytest.approx(brute_force(statistics, grid, power), rel=1e-9, abs=1e-18 * statistics.abs_max**power)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_search_equals_brute_force_over_the_same_candidates(seed, kind, power):
    statistics = statistics_of(random_tensor(seed, kind), bins=16)
    count, bits = 20, 3
    whole = full_range(statistics, kind)

    def best(pairs):
        """Least error first; of equals the first; without the empty range."""
        grids = [grid_of_range(Range(low, high), kind, bits) for low, high in pairs if low != high]
        return min((brute_force(statistics, grid, power) for grid in grids), default=np.inf)

    thresholds = [whole.threshold * k / count for k in range(count, 0, -1)]
    if kind == "unsigned":
        pairs = [(0.0, t) for t in thresholds]
    elif kind == "symmetric":
        pairs = [(-t, t) for t in thresholds]
    else:
        pairs = [(max(whole.low, -t), min(whole.high, t)) for t in thresholds]
    lows, highs = candidate_ranges(whole, kind, count)
    np.testing.assert_allclose(np.stack((lows, highs), axis=1), pairs, rtol=1e-12)
    # The last bit of a bound decides where a zero point of exactly one half goes, so from here on the same bits.
    pairs = list(zip(lows.tolist(), highs.tolist(), strict=True))
    errors = [brute_force(statistics, grid_of_range(Range(*pair), kind, bits), power) for pair in pairs]
    found = range_errors(PointMasses.of(statistics.histogram), lows, highs, kind, bits, power=power)
    np.testing.assert_allclose(found, errors, rtol=1e-9, atol=1e-15 * max(errors))
    low, high = pairs[int(np.argmin(errors))]
    want = min(errors)
    if kind == "asymmetric":
        by_low = [(low, high), *((whole.low * (k / count), high) for k in range(count, -1, -1))]
        low, high = min(by_low, key=lambda pair: best([pair]))
        want = best([(low, high), *((low, whole.high * (k / count)) for k in range(count, -1, -1))])
    chosen = least_error_range(statistics, kind, bits, power=power, candidates=count)
    assert brute_force(statistics, grid_of_range(chosen, kind, bits), power) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [9, 12, 14, 16])
def test_more_levels_than_bins_take_rounding_as_uniform(kind, bits):
    statistics = statistics_of(random_tensor(4, kind, 5000))
    whole = full_range(statistics, kind)
    rng = np.random.default_rng(0)
    for fraction in (1.0, 0.5, 0.1):
        grid = grid_of_range(Range(whole.low * fraction, whole.high * fraction), kind, bits)
        # Uniform inside each bin: a hundred points per bin instead of its centre.
        centres = oracle.points_of(statistics.histogram.exponent, *statistics.histogram.counts.tolist())
        points = [(c, n / 100) for c, n in centres for _ in range(100)]
        jitter = (rng.random(len(points)) - 0.5) * statistics.histogram.width
        low, high = grid.low, grid.high
        points = [(c + j if low < c < high else c, n) for (c, n), j in zip(points, jitter, strict=True)]
        for power, found in ((2, squared_error(statistics, grid)), (1, absolute_error(statistics, grid))):
            bounds = (grid.quant_min, grid.quant_max)
            want = oracle.mean_error(points, statistics.zeros, float(grid.scale), int(grid.zero_point), *bounds, power)
            assert found == pytest.approx(want, rel=0.08)


@given(x=ts.tensors(ts.finite), bits=st.integers(2, 16), kind=st.sampled_from(KINDS), power=st.sampled_from([1, 2]))
def test_search_stays_inside_the_data_and_beats_clipping_nothing(x, bits, kind, power):
    x = np.abs(x) if kind == "unsigned" else x
    statistics = statistics_of(x, 16)
    chosen, whole = least_error_range(statistics, kind, bits, power=power, candidates=10), full_range(statistics, kind)
    assert whole.low <= chosen.low <= 0 <= chosen.high <= whole.high
    if statistics.abs_max > 0:
        lows, highs = [chosen.low, whole.low], [chosen.high, whole.high]
        found, clipped_nothing = range_errors(PointMasses.of(statistics.histogram), lows, highs, kind, bits, power=power)
        assert found <= clipped_nothing
        assert chosen.threshold > 0


def test_skewed_tensor_gets_a_better_range_than_one_threshold_can_give():
    x = np.random.default_rng(0).standard_normal(200_000)
    x = np.float32(x * np.clip(x + 3, 0, 6) / 6)
    x[:20] = -3.0  # a rare negative tail, where HardSwish's own ends at -0.375
    statistics = statistics_of(x, 2048)
    chosen = least_error_range(statistics, "asymmetric", 4)
    masses = PointMasses.of(statistics.histogram)
    lows, highs = candidate_ranges(full_range(statistics, "asymmetric"), "asymmetric")
    one_threshold = range_errors(masses, lows, highs, "asymmetric", 4).min()
    both = range_errors(masses, [chosen.low], [chosen.high], "asymmetric", 4)[0]
    assert both < 0.8 * one_threshold
    assert chosen.low > -1


def test_an_empty_range_is_no_candidate():
    # Its scale of 1.0 would happen to fit these numbers best.
    statistics = statistics_of([1.0] * 1000 + [7.0], bins=2)
    assert least_error_range(statistics, "asymmetric", 2, candidates=10).threshold > 0


def test_rounding_inside_a_bin_costs_the_uniform_error_exactly():
    statistics = statistics_of(random_tensor(0, "symmetric"))
    grid = QParams.symmetric(statistics.abs_max * 1.1, num_bits=12)
    nonzero = 1 - statistics.zeros / statistics.histogram.total
    assert squared_error(statistics, grid) == pytest.approx(nonzero * float(grid.scale) ** 2 / 12, rel=1e-9)
    assert absolute_error(statistics, grid) == pytest.approx(nonzero * float(grid.scale) / 4, rel=1e-9)


@pytest.mark.parametrize(("bins", "visited"), [(4_096, 0), (40_000, 200 * 2**16)], ids=["fewer bins than levels", "more bins"])
def test_sixteen_bits_take_bounded_memory_and_work(bins, visited, monkeypatch):
    """200 candidates of 65,536 levels: 105 MB as one array.  Levels are looked up in chunks, and not at all where bins are wider."""
    statistics = statistics_of(np.random.default_rng(0).standard_normal(100_000), bins)
    looked_up, deficit = [], PointMasses.deficit
    monkeypatch.setattr(PointMasses, "deficit", lambda self, points: looked_up.append(points.size) or deficit(self, points))
    tracemalloc.start()
    try:
        chosen = least_error_range(statistics, "symmetric", 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert chosen.threshold > 0.9 * statistics.abs_max
    assert peak < 20e6
    assert sum(looked_up) <= visited
    assert (sum(looked_up) > 0) == (visited > 0)


def test_what_cannot_be_measured():
    statistics = statistics_of([1.0, -1.0])
    with pytest.raises(ConfigError, match="per channel"):
        squared_error(statistics, QParams.symmetric([1.0], quant_axis=0))
    with pytest.raises(ConfigError, match="power"):
        grid_errors(PointMasses.of(statistics.histogram), 1.0, 0, 0, 255, power=3)
    with pytest.raises(NoCalibrationDataError):
        squared_error(TensorStatistics(), QParams.symmetric(1.0))
    with pytest.raises(NoCalibrationDataError):
        least_error_range(TensorStatistics(), "symmetric")
    with pytest.raises(ConfigError, match="zero"):
        Range(1.0, 2.0)
    with pytest.raises(NonFiniteError):
        Range(0.0, float("nan"))


def test_zeros_cost_nothing_and_count_in_the_mean():
    grid = QParams.symmetric(1.27)
    few, many = statistics_of([0.333] * 10), statistics_of([0.333] * 10 + [0.0] * 90)
    assert squared_error(many, grid) == pytest.approx(squared_error(few, grid) / 10, rel=1e-12)
    assert squared_error(statistics_of([0.0]), grid) == 0
