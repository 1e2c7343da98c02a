"""Grids of blocks against float64 arithmetic and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from quantizers.errors import ConfigError, NonFiniteError, ShapeError
from quantizers.grids.block_grid import BlockGrid
from quantizers.grids.packing import pack, unpack
from quantizers.weights.block_rules import absmax_grid, mse_grid, squared_errors
from quantizers.weights.hqq import hqq_grid


def _rows(count: int = 6, features: int = 70, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, (count, features)).astype("float32")


def _by_hand(rows: np.ndarray, bits: int, size: int, symmetric: bool) -> np.ndarray:
    """Rounded numbers, block by block, in float64."""
    answer = np.zeros_like(rows)
    for row in range(rows.shape[0]):
        for start in range(0, rows.shape[1], size):
            block = rows[row, start : start + size].astype(np.float64)
            top, middle = 2**bits - 1, 2 ** (bits - 1)
            if symmetric:
                far = block[np.abs(block).argmax()]
                scale, zero = (np.float64(np.float32(far / -middle)) if far else 1.0), middle
            else:
                low, high = min(block.min(), 0), max(block.max(), 0)
                scale = np.float64(np.float32((high - low) / top)) or 1.0
                zero = np.rint(-low / scale)
            codes = np.clip(np.rint(block.astype("float32") / np.float32(scale)) + zero, 0, top)
            answer[row, start : start + size] = (codes - zero).astype("float32") * np.float32(scale)
    return answer


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("symmetric", [True, False])
def test_absmax_is_what_block_by_block_arithmetic_gives(bits: int, size: int, symmetric: bool) -> None:
    rows = _rows()
    grid = absmax_grid(rows, bits, size, symmetric)
    np.testing.assert_array_equal(grid.dequantize(grid.quantize(rows)), _by_hand(rows, bits, size, symmetric))
    assert grid.is_symmetric == symmetric


def test_the_number_of_largest_magnitude_is_kept() -> None:
    rows = _rows()
    for bits in (2, 4, 8):
        grid = absmax_grid(rows, bits, None)
        answer = grid.dequantize(grid.quantize(rows))
        far = np.abs(rows).argmax(axis=1)
        np.testing.assert_allclose(np.take_along_axis(answer, far[:, None], 1), np.take_along_axis(rows, far[:, None], 1), rtol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mse_is_never_worse_than_absmax_in_any_block(bits: int, symmetric: bool) -> None:
    rows = _rows()
    plain, best = absmax_grid(rows, bits, 32, symmetric), mse_grid(rows, bits, 32, symmetric)
    assert (squared_errors(rows, best) <= squared_errors(rows, plain)).all()
    if bits == 4:
        assert squared_errors(rows, best).sum() < 0.97 * squared_errors(rows, plain).sum()


def test_mse_finds_nearly_the_best_of_a_dense_search() -> None:
    rows = _rows(4, 32)
    found = squared_errors(rows, mse_grid(rows, 4, None)).sum(axis=1)
    for row, error in zip(rows, found, strict=True):
        scales = np.concatenate([np.linspace(0.02, 2, 4000), -np.linspace(0.02, 2, 4000)])
        codes = np.clip(np.rint(row[None] / scales[:, None]), -8, 7)
        dense = np.square(row[None] - codes * scales[:, None]).sum(axis=1).min()
        assert error <= dense * 1.03


@pytest.mark.parametrize("symmetric", [True, False])
def test_hqq_lowers_the_norm_that_it_is_for(symmetric: bool) -> None:
    rows = _rows()
    before, after = (rule(rows, 4, 32, symmetric) for rule in (absmax_grid, hqq_grid))
    norm = [np.sum(np.abs(rows - grid.dequantize(grid.quantize(rows))) ** 0.7) for grid in (before, after)]
    assert norm[1] < norm[0]


@pytest.mark.parametrize("rule", [absmax_grid, mse_grid, hqq_grid])
@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_constants_and_tiny_numbers(rule: object, symmetric: bool) -> None:
    for rows in (np.zeros((3, 33)), np.full((3, 33), 2.5), np.full((3, 33), -1e-42), np.full((2, 16), 3e38)):
        values = rows.astype("float32")
        grid = rule(values, 4, 16, symmetric)  # type: ignore[operator]
        answer = grid.dequantize(grid.quantize(values))
        assert np.isfinite(answer).all()
        assert np.abs(answer - values).max() <= max(np.abs(values).max() / 6, 1e-37)  # below the smallest scale: zero


@pytest.mark.parametrize("rule", [absmax_grid, mse_grid, hqq_grid])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(rule: object, bad: float) -> None:
    rows = _rows()
    rows[2, 5] = bad
    with pytest.raises(NonFiniteError):
        rule(rows, 4, 32, True)  # type: ignore[operator]


def test_a_grid_refuses_what_does_not_fit() -> None:
    with pytest.raises(ConfigError):
        BlockGrid(np.zeros((2, 1)), np.zeros((2, 1)), 4)
    with pytest.raises(ConfigError):
        BlockGrid(np.ones((2, 1)), np.full((2, 1), 16), 4)
    with pytest.raises(NonFiniteError):
        BlockGrid(np.full((2, 1), np.nan), np.zeros((2, 1)), 4)
    with pytest.raises(ShapeError):
        BlockGrid.symmetric(np.ones((2, 3)), 4, 16).quantize(np.ones((2, 16)))


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("count", [1, 7, 8, 33])
def test_packing_gives_back_every_code(bits: int, count: int) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, (5, count))
    packed = pack(codes, bits)
    each = {2: 4, 3: 2, 4: 2}.get(bits, 1)
    assert packed.shape == (5, -(-count // each))
    np.testing.assert_array_equal(unpack(packed, bits, count), codes)


def test_the_first_code_is_in_the_lowest_bits() -> None:
    np.testing.assert_array_equal(pack(np.array([[1, 2, 3]]), 4), [[0x21, 0x03]])
    np.testing.assert_array_equal(pack(np.array([[1, 2, 3, 0, 2]]), 2), [[0b00111001, 2]])
