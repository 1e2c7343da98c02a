"""The logarithmic grid against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from quantizers.errors import NonFiniteError
from quantizers.grids.log_grid import LogGrid


def _numbers() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(5000).astype("float32")


def test_the_nearest_number_is_taken() -> None:
    x = _numbers()
    grid = LogGrid.of(float(np.abs(x).max()))
    table = np.delete(grid.table, 0)  # code -128 stands for nothing
    nearest = np.abs(x[:, None].astype(np.float64) - table[None].astype(np.float64)).min(axis=1)
    np.testing.assert_allclose(np.abs(grid.dequantize(grid.quantize(x)) - x.astype(np.float64)), nearest, atol=1e-9)


def test_the_relative_error_is_at_most_4_4_percent_inside_the_range() -> None:
    x = _numbers()
    largest = np.abs(x).max()
    inside = np.abs(x) >= largest * 2**-15.75
    grid = LogGrid.of(float(largest))
    error = np.abs(grid.dequantize(grid.quantize(x)) - x)[inside] / np.abs(x)[inside]
    assert 0.04 < error.max() <= (2**0.125 - 1) / (2**0.125 + 1) + 1e-6 < 0.0434


def test_largest_zero_and_signs() -> None:
    grid = LogGrid.of(-3.0)
    codes = grid.quantize([3.0, -3.0, 0.0, 3 / 2, -3 / 2, 1e-30])
    np.testing.assert_array_equal(codes, [127, -1, 0, 119, -9, 0])  # a negative has its magnitude's code less 128
    np.testing.assert_allclose(grid.dequantize(codes), [3, -3, 0, 1.5, -1.5, 0], rtol=1e-6)


def test_zeros_and_what_is_not_finite() -> None:
    grid = LogGrid.of(0.0)
    np.testing.assert_array_equal(grid.dequantize(grid.quantize(np.zeros(4))), np.zeros(4))
    with pytest.raises(NonFiniteError):
        LogGrid.of(np.inf)
    with pytest.raises(NonFiniteError):
        LogGrid.of(1.0).quantize([np.nan])
