"""Grids against the oracle: exact for every width, kind and channel axis."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import oracle
import pytest
import tensor_strategies as ts
from hypothesis import example, given
from hypothesis import strategies as st

from quantizers import QParams, QuantSpec
from quantizers.errors import ConfigError, NonFiniteError, ShapeError

positive = st.floats(0, 3.4028234663852886e38, width=32)


def assert_equals_oracle(grid, x, scale, zero_point, bounds):
    flat = [float(v) for v in np.asarray(x).reshape(-1)]
    want_q = [oracle.quantize(v, scale, zero_point, *bounds) for v in flat]
    with np.errstate(over="ignore"):
        want = [oracle.fake_quantize(v, scale, zero_point, *bounds) for v in flat]
    q = grid.quantize(x)
    assert q.dtype == grid.storage_dtype
    assert q.shape == np.shape(x)
    assert q.reshape(-1).tolist() == want_q
    np.testing.assert_array_equal(grid.fake_quantize(x).reshape(-1), np.float32(want))
    np.testing.assert_array_equal(grid.dequantize(q), grid.fake_quantize(x))


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize(("signed", "narrow"), [(True, False), (True, True), (False, False)])
def test_symmetric_grid_of_every_width(bits, signed, narrow):
    low, high = oracle.grid_bounds(bits, signed, narrow)
    spec = QuantSpec(bits, signed=signed, narrow_range=narrow)
    assert (spec.quant_min, spec.quant_max) == (low, high)
    grid = QParams.symmetric(3.7, num_bits=bits, signed=signed, narrow_range=narrow)
    scale = oracle.scale_of(3.7, high)
    assert (float(grid.scale), int(grid.zero_point), grid.quant_min, grid.quant_max) == (scale, 0, low, high)
    assert grid.scale.dtype == np.float32
    assert grid.zero_point.dtype == np.int32
    ramp = np.linspace(-5, 5, 1001, dtype=np.float32)
    ties = (np.arange(-300, 300) + 0.5).astype(np.float32) * np.float32(scale)
    assert_equals_oracle(grid, np.concatenate((ramp, ties)), scale, 0, (low, high))


@given(low=ts.moderate, high=ts.moderate, bits=ts.bits, x=ts.tensors(ts.finite))
def test_asymmetric_grid(low, high, bits, x):
    low, high = min(low, high), max(low, high)
    grid = QParams.asymmetric(low, high, num_bits=bits)
    scale, zero_point = oracle.asymmetric(low, high, bits)
    assert (float(grid.scale), int(grid.zero_point)) == (scale, zero_point)
    assert_equals_oracle(grid, x, scale, zero_point, (0, 2**bits - 1))


def test_zero_point_follows_the_rounded_scale():
    # Of [-t, t] the exact zero point ends in one half: the rounding of the scale decides.
    found = []
    for threshold in np.random.default_rng(0).uniform(0.1, 10, 200).tolist():
        grid = QParams.asymmetric(-threshold, threshold)
        assert (float(grid.scale), int(grid.zero_point)) == oracle.asymmetric(-threshold, threshold, 8)
        found.append(int(grid.zero_point))
    assert set(found) == {127, 128}


@given(threshold=positive, bits=ts.bits, signed=st.booleans(), x=ts.tensors(ts.finite))
@example(threshold=1e-45, bits=8, signed=True, x=np.float32([1e-45, -1e-45, 0, 1e-38, 3e38]))
@example(threshold=3.4028234663852886e38, bits=2, signed=True, x=np.float32([3.4e38, -3.4e38]))
def test_symmetric_grid(threshold, bits, signed, x):
    grid = QParams.symmetric(threshold, num_bits=bits, signed=signed)
    bounds = oracle.grid_bounds(bits, signed, False)
    assert_equals_oracle(grid, x, oracle.scale_of(threshold, bounds[1]), 0, bounds)


@given(low=ts.finite, high=ts.finite, bits=ts.bits)
def test_scale_is_always_usable_and_zero_is_exact(low, high, bits):
    grid = QParams.asymmetric(min(low, high), max(low, high), num_bits=bits)
    assert np.isfinite(grid.scale)
    assert grid.scale >= np.finfo(np.float32).tiny
    assert grid.fake_quantize(np.float32([0.0]))[0] == 0


@given(low=ts.moderate, high=ts.moderate, bits=ts.bits)
def test_error_inside_the_range_is_at_most_a_step(low, high, bits):
    low, high = min(low, high, 0), max(low, high, 0)
    grid = QParams.asymmetric(low, high, num_bits=bits)
    x = np.linspace(low, high, 101, dtype=np.float32)
    step = (high - low) / (2**bits - 1)
    # Half a step from rounding, half a step from rounding the zero point.
    assert np.abs(grid.fake_quantize(x).astype(float) - x).max() <= step * 1.001 + 1e-30


@given(threshold=st.floats(2.0**-100, 2.0**100, width=32), bits=ts.bits, x=ts.tensors(ts.moderate))
def test_fake_quantize_twice_changes_nothing(threshold, bits, x):
    grid = QParams.symmetric(threshold, num_bits=bits)
    once = grid.fake_quantize(x)
    np.testing.assert_array_equal(grid.fake_quantize(once), once)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_each_channel_has_its_own_grid(axis, bits):
    rng = np.random.default_rng(bits)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    thresholds = rng.uniform(0.1, 3, x.shape[axis]).tolist()
    thresholds[0] = 0.0
    grid = QParams.symmetric(thresholds, num_bits=bits, quant_axis=axis, narrow_range=True)
    whole = grid.fake_quantize(x)
    for channel, threshold in enumerate(thresholds):
        alone = QParams.symmetric(threshold, num_bits=bits, narrow_range=True)
        np.testing.assert_array_equal(whole.take(channel, axis), alone.fake_quantize(x.take(channel, axis)))
        np.testing.assert_array_equal(grid.quantize(x).take(channel, axis), alone.quantize(x.take(channel, axis)))
    assert np.shape(grid.threshold) == np.shape(grid.low) == (x.shape[axis],)


def test_zero_range_has_scale_one_and_keeps_zeros():
    for grid in (QParams.symmetric(0.0), QParams.asymmetric(0.0, 0.0), QParams.symmetric(0.0, signed=False)):
        assert (float(grid.scale), int(grid.zero_point)) == (1.0, 0)
        assert not grid.fake_quantize(np.zeros(4, np.float32)).any()


def test_bounds_of_a_grid():
    signed = QParams.symmetric(127.0)
    assert (signed.low, signed.high, signed.threshold, signed.signed, signed.is_symmetric) == (-128.0, 127.0, 127.0, True, True)
    unsigned = QParams.symmetric(255.0, signed=False)
    assert (unsigned.low, unsigned.high, unsigned.threshold, unsigned.signed) == (0.0, 255.0, 255.0, False)
    shifted = QParams.asymmetric(-200.0, 55.0)
    assert (shifted.low, shifted.high, shifted.threshold, shifted.is_symmetric) == (-200.0, 55.0, 200.0, False)


@pytest.mark.parametrize(("bits", "signed", "dtype"), [(2, True, "int8"), (8, False, "uint8"), (9, True, "int16"), (16, False, "uint16")])
def test_storage_dtype(bits, signed, dtype):
    assert QParams.symmetric(1.0, num_bits=bits, signed=signed).storage_dtype == np.dtype(dtype)


@given(thresholds=st.one_of(positive, st.lists(positive, min_size=1, max_size=5)), bits=ts.bits)
def test_json_round_trip_is_exact(thresholds, bits):
    axis = 1 if isinstance(thresholds, list) else None
    grid = QParams.symmetric(thresholds, num_bits=bits, quant_axis=axis)
    back = QParams.from_dict(json.loads(json.dumps(grid.to_dict())))
    assert back == grid
    assert hash(back) == hash(grid)
    np.testing.assert_array_equal(back.scale, grid.scale)
    assert pickle.loads(pickle.dumps(grid)) == copy.deepcopy(grid) == grid


def test_grids_differ_when_any_part_does():
    grid = QParams.symmetric(1.0)
    others = [
        QParams.symmetric(2.0),
        QParams.symmetric(1.0, narrow_range=True),
        QParams.asymmetric(-1.0, 1.0),
        QParams.symmetric([1.0], quant_axis=0),
    ]
    assert all(grid != other for other in others)
    assert QParams.symmetric([1.0], quant_axis=0) != QParams.symmetric([1.0], quant_axis=1)
    assert grid != "grid"


@pytest.mark.parametrize("bits", [1, 0, 17, -8, True, 8.0, "8", None])
def test_bad_num_bits(bits):
    with pytest.raises(ConfigError, match="quant_bits"):
        QuantSpec(bits)
    with pytest.raises(ConfigError, match="quant_bits"):
        QParams.symmetric(1.0, num_bits=bits)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_bounds(bad):
    for make in (lambda: QParams.symmetric(bad), lambda: QParams.asymmetric(bad, 1.0), lambda: QParams.asymmetric(-1.0, bad)):
        with pytest.raises(NonFiniteError):
            make()


def test_bad_settings():
    with pytest.raises(ConfigError, match="negative"):
        QParams.symmetric(-1.0)
    with pytest.raises(ConfigError, match="above"):
        QParams.asymmetric(2.0, 1.0)
    with pytest.raises(ConfigError, match="narrow_range"):
        QuantSpec(signed=False, narrow_range=True)
    with pytest.raises(ConfigError, match="quant_axis"):
        QuantSpec(quant_axis=1.0)
    with pytest.raises(ConfigError, match="0-d"):
        QParams.symmetric([1.0, 2.0])
    with pytest.raises(ConfigError, match="0-d"):
        QParams.symmetric(1.0, quant_axis=0)
    with pytest.raises(ConfigError, match="positive"):
        QParams(np.float32(0), np.int32(0), -128, 127, 8)
    with pytest.raises(ConfigError, match="zero_point"):
        QParams(np.float32(1), np.int32(300), 0, 255, 8)
    with pytest.raises(ConfigError, match="8 bits"):
        QParams(np.float32(1), np.int32(0), -200, 127, 8)
    with pytest.raises(ConfigError, match="described"):
        QParams.from_dict({"scale": 1.0})


def test_tensor_that_does_not_fit():
    grid = QParams.symmetric([1.0, 2.0], quant_axis=1)
    for shape in ((2,), (2, 3)):
        with pytest.raises(ShapeError, match="axis 1"):
            grid.fake_quantize(np.zeros(shape, np.float32))


def test_nan_and_inf_as_data():
    grid = QParams.symmetric(1.0)
    assert grid.quantize(np.float32([np.inf, -np.inf])).tolist() == [127, -128]
    assert np.isnan(grid.fake_quantize(np.float32([np.nan]))).all()
    with pytest.raises(NonFiniteError):
        grid.quantize(np.float32([np.nan]))


def test_a_grid_cannot_be_changed():
    grid = QParams.symmetric(1.0)
    with pytest.raises(ValueError, match="read-only"):
        grid.scale[...] = 2
    with pytest.raises(AttributeError):
        grid.quant_min = 0
