"""GPTQ and AWQ against brute force and against what they promise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quantizers.errors import ConfigError, NonFiniteError
from quantizers.weights.awq import awq
from quantizers.weights.block_rules import absmax_grid, mse_grid
from quantizers.weights.gptq import gptq, output_error


def _data(features: int = 64, samples: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.standard_normal((samples, features)) @ random.standard_normal((features, features)) * 0.2
    x[:, 3] = 0
    return random.standard_normal((10, features)).astype("float32"), x


def test_output_error_is_the_error_of_the_output() -> None:
    rows, x = _data()
    rounded = np.round(rows)
    assert output_error(rows, rounded, x.T @ x) == pytest.approx(np.square(x @ rows.T - x @ rounded.T).sum(), rel=1e-9)


@pytest.mark.parametrize("features", [64, 200])  # within and beyond the columns whose updates are collected
@pytest.mark.parametrize("group", [None, 16, 32])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_lowers_the_error_of_correlated_inputs(group: int | None, symmetric: bool, features: int) -> None:
    rows, x = _data(features)
    grid, products = mse_grid(rows, 4, group, symmetric), x.T @ x
    codes = gptq(rows, products, grid)
    assert codes.min() >= 0
    assert codes.max() <= 15
    nearest = output_error(rows, grid.dequantize(grid.quantize(rows)), products)
    assert output_error(rows, grid.dequantize(codes), products) < 0.65 * nearest


def test_gptq_is_near_the_best_of_all_roundings() -> None:
    rows, x = _data(6, 50)
    grid, products = absmax_grid(rows, 2, None), x.T @ x
    found = gptq(rows, products, grid)
    every = np.array(list(itertools.product(range(4), repeat=6)))
    for row in range(3):
        scale, zero = grid.scale[row, 0], grid.zero_point[row, 0]
        errors = ((every - zero) * scale - rows[row]).astype(np.float64)
        best = np.einsum("nf,fg,ng->n", errors, products, errors).min()
        own = ((found[row] - zero) * scale - rows[row]).astype(np.float64)
        nearest = grid.dequantize(grid.quantize(rows))[row] - rows[row].astype(np.float64)
        assert own @ products @ own <= nearest @ products @ nearest + 1e-9
        assert own @ products @ own <= 4 * best + 1e-9


def test_independent_inputs_leave_nothing_to_make_up_for() -> None:
    rows, _ = _data()
    grid = mse_grid(rows, 4, 32)
    np.testing.assert_array_equal(gptq(rows, np.eye(64) * 100, grid), grid.quantize(rows))


def test_one_sample_and_dead_features_do_not_fail() -> None:
    rows, x = _data()
    for inputs in (x[:1], np.zeros((5, 64))):
        assert gptq(rows, inputs.T @ inputs, mse_grid(rows, 4, 32)).shape == rows.shape


def test_awq_lowers_the_error_where_features_differ_in_size() -> None:
    rows, x = _data()
    x = x * np.geomspace(0.05, 20, 64)
    products = x.T @ x
    factors, grid = awq(rows, products, np.abs(x).mean(0), mse_grid, 4, 32)
    assert factors.shape == (64,)
    assert (factors > 0).all()
    plain = mse_grid(rows, 4, 32)
    nearest = output_error(rows, plain.dequantize(plain.quantize(rows)), products)
    assert output_error(rows, grid.dequantize(grid.quantize(rows * factors)) / factors, products) < 0.95 * nearest


def test_what_is_no_matrix_of_products_is_refused() -> None:
    rows, _ = _data()
    grid = mse_grid(rows, 4, 32)
    with pytest.raises(ConfigError):
        gptq(rows, np.eye(63), grid)
    with pytest.raises(ConfigError):
        gptq(rows, -np.eye(64), grid)
    with pytest.raises(NonFiniteError):
        gptq(rows, np.full((64, 64), np.nan), grid)
