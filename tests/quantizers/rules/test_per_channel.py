"""Quantizers of weights: channel axes, exactness, and the rule of each."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import oracle
import paddle
import pytest
import tensor_strategies as ts
from hypothesis import given
from hypothesis import strategies as st

from quantizers import (
    SUPPORT_WT_QUANTIZERS,
    AbsmaxQuantizer,
    PerChannelAbsmaxQuantizer,
    PerChannelHistQuantizer,
    PerChannelMSEQuantizer,
    PerChannelQuantizer,
    QParams,
    default_quant_axis,
)
from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError, ShapeError, UnsupportedDtypeError

kinds = [kind for kind in SUPPORT_WT_QUANTIZERS if issubclass(kind, PerChannelQuantizer)]
every = pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.__name__)

LAYERS = [
    (lambda: paddle.nn.Linear(3, 5), 1),
    (lambda: paddle.nn.Conv2D(4, 6, 3, groups=2), 0),
    (lambda: paddle.nn.Conv1D(4, 6, 3), 0),
    (lambda: paddle.nn.Conv2DTranspose(4, 6, 3, groups=2), 1),
    (lambda: paddle.nn.Conv1DTranspose(4, 6, 3), 1),
    (lambda: paddle.nn.Conv3DTranspose(2, 3, 3), 1),
    (lambda: paddle.nn.Embedding(7, 4), 0),
]


def weights(seed=0, shape=(6, 4, 3, 3)):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * rng.uniform(0.01, 10, (shape[0],) + (1,) * (len(shape) - 1))).astype(np.float32)


def calibrated(kind, weight, layer=None, **kwargs):
    quantizer = kind(**kwargs)
    quantizer.sample_data(layer, (weight,))
    quantizer.cal_thresholds()
    return quantizer


@every
@pytest.mark.parametrize(("make", "axis"), LAYERS, ids=lambda value: str(value) if isinstance(value, int) else "")
def test_channel_axis_of_each_layer(kind, make, axis):
    layer = make()
    weight = layer.weight.numpy()
    quantizer = calibrated(kind, layer.weight, layer)
    grid = quantizer.qparams[0]
    assert (grid.quant_axis, grid.quant_min, grid.quant_max, grid.is_symmetric) == (axis, -127, 127, True)
    want = [calibrated(kind, weight.take(c, axis)[None]).thresholds[0][0] for c in range(weight.shape[axis])]
    assert quantizer.thresholds == [want]
    assert quantizer.abs_max_vals == [np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).max(axis=1).tolist()]
    assert grid.fake_quantize(layer.weight).shape == weight.shape


def test_subclasses_have_their_parents_axis():
    class MyDense(paddle.nn.Linear):
        pass

    assert default_quant_axis(MyDense(2, 3), 2) == 1
    assert default_quant_axis(None, 4) == 0
    assert default_quant_axis(paddle.nn.Linear(2, 3), 1) == 0


@every
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_an_explicit_axis_wins(kind, axis, bits):
    weight = weights()
    grid = calibrated(kind, weight, paddle.nn.Linear(2, 2), quant_axis=axis, quant_bits=bits).qparams[0]
    assert grid.quant_axis == axis % 4
    assert grid.scale.shape == (weight.shape[axis],)
    quantizer = kind(bits)
    quantizer.quant_axis = axis  # as the engine sets it
    quantizer.sample_data(None, (weight,))
    quantizer.cal_thresholds()
    assert quantizer.qparams == [grid]


@given(weight=ts.tensors(ts.finite, max_items=7), bits=ts.bits)
def test_abs_max_equals_the_oracle(weight, bits):
    quantizer = calibrated(PerChannelAbsmaxQuantizer, weight, quant_bits=bits)
    want = [max(abs(float(v)) for v in row.reshape(-1)) for row in weight]
    assert quantizer.thresholds == [want]
    bounds = oracle.grid_bounds(bits, True, True)
    assert quantizer.qparams[0].scale.tolist() == [oracle.scale_of(t, bounds[1]) for t in want]


@given(weight=ts.tensors(ts.moderate, max_items=4), bits=st.integers(2, 8))
def test_mse_equals_brute_force(weight, bits):
    quantizer = calibrated(PerChannelMSEQuantizer, weight, quant_bits=bits)
    low, high = oracle.grid_bounds(bits, True, True)
    for row, found in zip(weight.reshape(len(weight), -1), quantizer.thresholds[0], strict=True):
        largest = float(np.abs(row).max())

        def loss(threshold, row=row):
            scale = threshold / high if threshold else 1.0
            return sum((float(x) - min(max(round(float(x) / scale), low), high) * scale) ** 2 for x in row)

        candidates = [largest * k / 64 for k in range(64, 0, -1)]
        assert found in candidates
        assert loss(found) <= min(map(loss, candidates)) + 2e-6 * largest**2


@given(weight=ts.tensors(ts.moderate), fraction=st.floats(0.01, 1))
def test_percentile_equals_sorted_magnitudes(weight, fraction):
    quantizer = calibrated(PerChannelHistQuantizer, weight, hist_percent=fraction)
    for row, found in zip(weight.reshape(len(weight), -1), quantizer.thresholds[0], strict=True):
        magnitudes = sorted(abs(float(v)) for v in row)
        position = fraction * (len(magnitudes) - 1)
        k = min(int(position), len(magnitudes) - 2) if len(magnitudes) > 1 else 0
        following = magnitudes[min(k + 1, len(magnitudes) - 1)]
        want = magnitudes[k] + (position - k) * (following - magnitudes[k])
        if want > 1e-30:
            assert found == pytest.approx(want, rel=1e-5)
        assert (found > 0) == (magnitudes[-1] > 0)


def test_mse_takes_blocks_of_channels_alike():
    weight = weights(shape=(40, 5000))
    whole = calibrated(PerChannelMSEQuantizer, weight, quant_bits=4).thresholds[0]
    assert whole == [calibrated(PerChannelMSEQuantizer, row[None], quant_bits=4).thresholds[0][0] for row in weight]
    assert 0.2 < np.mean(np.array(whole) / np.abs(weight).max(axis=1)) < 0.9


@every
def test_a_zero_channel_stays_zero_and_tiny_ones_stay_finite(kind):
    weight = weights()
    weight[2] = 0
    weight[3] = 1e-44
    weight[4] = 3e38
    quantizer = calibrated(kind, weight)
    grid = quantizer.qparams[0]
    assert quantizer.thresholds[0][2] == 0
    assert grid.scale[2] == 1
    assert np.isfinite(grid.scale).all()
    assert (grid.scale > 0).all()
    assert not grid.fake_quantize(weight)[2].any()
    np.testing.assert_allclose(grid.fake_quantize(weight)[4], weight[4], rtol=0.01)


@every
def test_twice_is_once_and_copies_are_independent(kind):
    quantizer = calibrated(kind, weights())
    once = copy.deepcopy(quantizer.thresholds)
    quantizer.cal_thresholds()
    assert quantizer.thresholds == once
    quantizer.thresholds[0][0] = 9.0
    assert quantizer.qparams[0].scale[0] == np.float32(9 / 127)
    quantizer.cal_thresholds()
    assert quantizer.thresholds == once
    for twin in (copy.deepcopy(quantizer), pickle.loads(pickle.dumps(quantizer))):
        assert twin.qparams == quantizer.qparams
        twin.sample_data(None, (weights(1),))
        twin.cal_thresholds()
        assert twin.thresholds != once
    assert quantizer.thresholds == once


@every
def test_sampling_again_replaces_the_weight(kind):
    quantizer = calibrated(kind, weights() * 100)
    quantizer.sample_data(None, (weights(),))
    quantizer.cal_thresholds()
    assert quantizer.thresholds == calibrated(kind, weights()).thresholds


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_float_dtype(kind, dtype):
    weight = paddle.to_tensor(weights()).astype(dtype)
    assert calibrated(kind, weight).thresholds == calibrated(kind, weight.astype("float32").numpy()).thresholds


@every
def test_errors_name_the_layer(kind):
    layer = paddle.nn.Linear(3, 4)
    name = layer.full_name()
    broken = weights()
    broken[1, 1] = np.nan
    cases = [
        (broken, NonFiniteError),
        (np.ones((2, 2), int), UnsupportedDtypeError),
        (np.zeros((0, 2), np.float32), ShapeError),
        (np.float32(1.0), ShapeError),
    ]
    for tensor, error in cases:
        with pytest.raises(error, match=name):
            kind().sample_data(layer, (tensor,))
    with pytest.raises(ShapeError, match="no axis 4"):
        kind(quant_axis=4).sample_data(layer, (weights(),))
    quantizer = calibrated(kind, weights(), layer)
    with pytest.raises(CalibrationError, match="2 weights now"):
        quantizer.sample_data(layer, (weights(), weights()))
    quantizer.reset()
    quantizer.name = "fc weight"
    with pytest.raises(NoCalibrationDataError, match="fc weight"):
        quantizer.cal_thresholds()
    with pytest.raises(NoCalibrationDataError, match="fc weight"):
        quantizer.qparams  # noqa: B018
    with pytest.raises(ConfigError, match="quant_axis"):
        kind(quant_axis="0")


def test_several_weights_at_once():
    quantizer = PerChannelAbsmaxQuantizer()
    quantizer.sample_data(None, (weights(0), weights(1, (3, 2))))
    quantizer.cal_thresholds()
    assert [len(t) for t in quantizer.thresholds] == [6, 3]


def test_abs_max_of_a_whole_weight_has_one_scale():
    weight = weights()
    quantizer = AbsmaxQuantizer()
    quantizer.is_weight = True
    quantizer.sample_data(None, (weight,))
    quantizer.cal_thresholds()
    assert quantizer.qparams == [QParams.symmetric(float(np.abs(weight).max()), narrow_range=True)]
