"""The contract that every quantizer of activations keeps."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import paddle
import pytest
import tensor_strategies as ts
from calibrating import calibrated, hard_swish, normal
from hypothesis import given
from hypothesis import strategies as st

from quantizers import (
    SUPPORT_ACT_QUANTIZERS,
    AbsmaxQuantizer,
    AvgAbsmaxQuantizer,
    KLQuantizer,
    MovingAverageAbsmaxQuantizer,
    QParams,
    SummarySettings,
    TensorSummary,
)
from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError, ShapeError, UnsupportedDtypeError

every = pytest.mark.parametrize("kind", SUPPORT_ACT_QUANTIZERS, ids=lambda kind: kind.__name__)
order_free = [kind for kind in SUPPORT_ACT_QUANTIZERS if kind is not MovingAverageAbsmaxQuantizer]
symmetric_kinds = (AbsmaxQuantizer, AvgAbsmaxQuantizer, MovingAverageAbsmaxQuantizer)


@every
def test_thresholds_twice_are_the_thresholds_once(kind):
    quantizer = calibrated(kind, normal())
    statistics = [entry.copy() for entry in quantizer.statistics]
    once, grids = list(quantizer.thresholds), quantizer.qparams
    quantizer.cal_thresholds()
    assert quantizer.thresholds == once
    assert len(once) == 1
    assert quantizer.qparams == grids
    assert quantizer.statistics == statistics


@every
def test_without_data_there_are_no_thresholds(kind):
    quantizer = kind()
    quantizer.name = "layer1.conv1 input"
    with pytest.raises(NoCalibrationDataError, match=r"layer1\.conv1 input"):
        quantizer.cal_thresholds()
    with pytest.raises(NoCalibrationDataError, match=r"layer1\.conv1 input"):
        quantizer.qparams  # noqa: B018


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_batch_is_never_forgotten(kind, bad):
    layer, quantizer = paddle.nn.ReLU(), kind()
    broken = normal()
    broken[2, 3] = bad
    quantizer.sample_data(layer, (normal(),))
    with pytest.raises(NonFiniteError, match=f"{layer.full_name()}: batch 1"):
        quantizer.sample_data(layer, (broken,))
    quantizer.sample_data(layer, (normal(),))
    with pytest.raises(NonFiniteError, match=f"{layer.full_name()}: batch 1"):
        quantizer.cal_thresholds()
    quantizer.reset()
    assert calibrated(quantizer, normal()).thresholds == calibrated(kind, normal()).thresholds


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_paddle_tensors_of_every_float_dtype(kind, dtype):
    x = paddle.to_tensor(normal()).astype(dtype)
    want = calibrated(kind, x.astype("float32").numpy())
    assert calibrated(kind, x).thresholds == want.thresholds


@every
@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (paddle.to_tensor([1, 2]), UnsupportedDtypeError),
        (np.array([True]), UnsupportedDtypeError),
        (np.zeros((0, 3), np.float32), ShapeError),
    ],
)
def test_what_cannot_be_sampled_is_named(kind, tensor, error):
    layer = paddle.nn.ReLU()
    with pytest.raises(error, match=layer.full_name()):
        kind().sample_data(layer, (tensor,))


@every
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_kind_of_grid(kind, bits):
    top = 2**bits - 1
    positive = calibrated(kind, np.maximum(normal(), 0), quant_bits=bits).qparams[0]
    assert (positive.quant_min, positive.quant_max, int(positive.zero_point)) == (0, top, 0)
    signed = calibrated(kind, normal() + 0.5, quant_bits=bits).qparams[0]
    if kind in symmetric_kinds:
        assert (signed.quant_min, signed.quant_max, int(signed.zero_point)) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0)
    else:
        assert (signed.quant_min, signed.quant_max) == (0, top)
        assert 0 < int(signed.zero_point) < top
    for symmetric in (True, False):
        grid = calibrated(kind, normal(), quant_bits=bits, symmetric=symmetric).qparams[0]
        assert grid.signed == symmetric


@every
def test_the_engine_may_ask_for_a_signed_grid_but_not_overrule_negative_data(kind):
    x = normal()
    told = kind()
    told.nonnegative = True
    assert calibrated(told, x).qparams == calibrated(kind(), x).qparams
    told = kind(symmetric=True)
    told.nonnegative = False
    assert calibrated(told, np.abs(x)).qparams[0].signed


@every
def test_as_a_weight_the_grid_is_signed_and_narrow(kind):
    quantizer = kind()
    quantizer.is_weight = True
    grid = calibrated(quantizer, np.abs(normal())).qparams[0]
    assert (grid.quant_min, grid.quant_max, int(grid.zero_point)) == (-127, 127, 0)


@every
@pytest.mark.parametrize("x", [np.zeros((2, 5)), np.full((1, 1), 0.7), np.full((1, 1), -1e-45), np.full((2, 3), 3.4e38), np.float32(-2.5)])
def test_awkward_tensors(kind, x):
    x = np.float32(x)
    quantizer = calibrated(kind, x)
    largest = float(np.abs(x).max())
    assert quantizer.thresholds == [largest]
    assert quantizer.abs_max_vals == [largest]
    found = quantizer.qparams[0].fake_quantize(x)
    assert np.abs(found - x).max() <= max(largest / 100, 1.2e-38)


@every
def test_thresholds_are_the_larger_bound_and_at_most_abs_max(kind):
    for x in (hard_swish(normal()), -np.abs(normal()), normal() ** 3):
        quantizer = calibrated(kind, np.float32(x))
        threshold, grid = quantizer.thresholds[0], quantizer.qparams[0]
        assert isinstance(threshold, float)
        assert 0 < threshold <= quantizer.abs_max_vals[0]
        step = float(grid.scale)
        assert grid.threshold == pytest.approx(threshold, abs=step)


@pytest.mark.parametrize("kind", order_free, ids=lambda kind: kind.__name__)
@given(x=ts.tensors(ts.moderate), data=st.data())
def test_thresholds_do_not_depend_on_batching(kind, x, data):
    cuts = data.draw(ts.splits(len(x)))
    batches = [x[a:b] for a, b in pairwise(cuts)]
    one = calibrated(kind, x, bins=32)
    many = calibrated(kind, *batches[::-1], bins=32)
    assert one.thresholds == many.thresholds
    assert one.qparams == many.qparams


@every
def test_copies_are_independent(kind):
    quantizer = calibrated(kind, normal())
    quantizer.name = "x"
    for twin in (copy.deepcopy(quantizer), pickle.loads(pickle.dumps(quantizer))):
        assert twin.thresholds == quantizer.thresholds
        assert twin.qparams == quantizer.qparams
        assert twin.statistics == quantizer.statistics
        twin.sample_data(None, (normal() * 9,))
        twin.cal_thresholds()
        assert twin.thresholds != quantizer.thresholds
    assert calibrated(kind, normal()).statistics == quantizer.statistics


@every
def test_several_tensors_and_a_changed_number_of_them(kind):
    a, b = normal(1), normal(2) * 10
    quantizer = kind()
    quantizer.sample_data(None, (a, b))
    quantizer.cal_thresholds()
    assert quantizer.thresholds == calibrated(kind, a).thresholds + calibrated(kind, b).thresholds
    assert [len(quantizer.qparams), len(quantizer.hists), len(quantizer.abs_max_vals)] == [2, 2, 2]
    with pytest.raises(CalibrationError, match="1 tensors now, but 2"):
        quantizer.sample_data(None, (a,))
    b[0, 0] = np.nan
    quantizer.name = "add input"
    with pytest.raises(NonFiniteError, match="add input, tensor 1: batch 1"):
        quantizer.sample_data(None, (a, b))


@every
def test_summaries_made_once_serve_every_quantizer(kind):
    x, quantizer = normal(), kind()
    assert quantizer.summary_settings == SummarySettings(2048, 8192)
    quantizer.sample_summaries([TensorSummary.of(x)])
    quantizer.cal_thresholds()
    assert quantizer.thresholds == calibrated(kind, x).thresholds
    with pytest.raises(ConfigError, match="does not fit"):
        kind(bins=64).sample_summaries([TensorSummary.of(x)])


@every
def test_any_quantizer_takes_over_statistics(kind):
    source = calibrated(MovingAverageAbsmaxQuantizer, hard_swish(normal()), hard_swish(normal(1)), bins=128)
    before = [entry.copy() for entry in source.statistics]
    taken = kind().adopt(source.statistics)
    taken.cal_thresholds()
    want = calibrated(kind, hard_swish(normal()), hard_swish(normal(1)), bins=128)
    assert taken.thresholds == want.thresholds
    assert taken.qparams == want.qparams
    assert taken.abs_max_vals == want.abs_max_vals
    taken.sample_data(None, (normal() * 100,))
    taken.cal_thresholds()
    assert taken.abs_max_vals[0] > 100
    assert source.statistics == before


def test_what_statistics_lack_is_named():
    plain = calibrated(AbsmaxQuantizer, normal())
    with pytest.raises(ConfigError, match="moving average"):
        MovingAverageAbsmaxQuantizer().adopt(plain.statistics)
    with pytest.raises(NoCalibrationDataError):
        KLQuantizer().adopt([]).cal_thresholds()


@every
def test_thresholds_set_by_hand_count(kind):
    quantizer = calibrated(kind, normal(), symmetric=True)
    quantizer.thresholds[0] = 0.5
    assert quantizer.qparams == [QParams.symmetric(0.5)]
    quantizer = calibrated(kind, hard_swish(normal()), symmetric=False)
    quantizer.thresholds = [0.2]
    assert quantizer.qparams == [QParams.asymmetric(-0.2, 0.2)]


@every
def test_bad_settings(kind):
    for key, value in (("symmetric", 1), ("bins", 0), ("max_samples_per_item", 0), ("quant_bits", 1)):
        with pytest.raises(ConfigError, match=key):
            kind(**{key: value})
