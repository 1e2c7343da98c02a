"""A user's own quantizer, written for Paddle, works with nothing but its two methods."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import paddle
import pytest

from quantizers import AbsmaxQuantizer, BaseQuantizer, KLQuantizer, QParams
from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError


class Forgetful(BaseQuantizer):
    """Never calls ``super().__init__`` and appends to the lists, as Paddle's own do."""

    def __init__(self):
        self.seen = []

    def sample_data(self, layer, tensors):  # noqa: ARG002
        self.seen.append(max(float(np.abs(np.asarray(t)).max()) for t in tensors))

    def cal_thresholds(self):
        self.thresholds.append(max(self.seen))


class PerColumn(BaseQuantizer):
    quant_axis = 1

    def sample_data(self, layer, tensors):  # noqa: ARG002
        self.abs_max_vals = [np.abs(np.asarray(t)).max(axis=0) for t in tensors]

    def cal_thresholds(self):
        self.thresholds = self.abs_max_vals


def test_a_subclass_without_super_init():
    first, second = Forgetful(), Forgetful()
    first.sample_data(None, (np.float32([1.0, -3.0]),))
    first.cal_thresholds()
    assert first.quant_bits == 8
    assert first.qparams == [QParams.symmetric(3.0)]
    assert second.thresholds == []
    assert second.abs_max_vals == []
    for twin in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert twin.qparams == first.qparams
        twin.thresholds.append(1.0)
    assert first.thresholds == [3.0]


def test_a_subclass_per_channel():
    quantizer = PerColumn(4)
    quantizer.sample_data(None, (np.float32([[1, -2, 0], [0.5, 1, 0]]),))
    quantizer.cal_thresholds()
    assert quantizer.qparams == [QParams.symmetric([1.0, 2.0, 0.0], num_bits=4, quant_axis=1)]
    quantizer.is_weight = True
    assert quantizer.qparams[0].quant_min == -7
    quantizer.quant_axis = None
    assert quantizer.qparams[0].quant_axis == 0


@pytest.mark.parametrize("value", [2.5, np.float32(2.5), np.array(2.5), paddle.to_tensor(2.5), 5 / 2])
def test_thresholds_may_be_any_kind_of_scalar(value):
    quantizer = Forgetful()
    quantizer.thresholds = (value,)
    assert quantizer.checked_thresholds() == [2.5]
    assert quantizer.qparams == [QParams.symmetric(2.5)]


@pytest.mark.parametrize("value", [[1.0, 2.0], np.float32([1, 2]), paddle.to_tensor([1.0, 2.0]), (1.0, np.float64(2))])
def test_thresholds_may_be_any_kind_of_list(value):
    quantizer = Forgetful()
    quantizer.thresholds = [value]
    assert quantizer.checked_thresholds() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), NonFiniteError),
        ([1.0, float("inf")], NonFiniteError),
        (-1.0, ConfigError),
        ([1.0, -1e-9], ConfigError),
        ("one", ConfigError),
        (None, NonFiniteError),
        ([[1.0]], ConfigError),
        ([], ConfigError),
    ],
)
def test_bad_thresholds_are_named(value, error):
    quantizer = Forgetful()
    quantizer.name = "conv1 input"
    quantizer.thresholds = [value]
    with pytest.raises(error, match="conv1 input"):
        quantizer.qparams  # noqa: B018


def test_no_thresholds():
    quantizer = Forgetful()
    with pytest.raises(NoCalibrationDataError, match="Forgetful"):
        quantizer.qparams  # noqa: B018
    quantizer.thresholds = [1.0]
    quantizer.reset()
    with pytest.raises(NoCalibrationDataError):
        quantizer.qparams  # noqa: B018


@pytest.mark.parametrize("bits", [1, 17, True, 8.0, "8", None])
def test_bad_quant_bits(bits):
    with pytest.raises(ConfigError, match="quant_bits"):
        AbsmaxQuantizer(bits)
    quantizer = Forgetful()
    with pytest.raises(ConfigError, match="quant_bits"):
        quantizer.quant_bits = bits


def test_methods_that_a_subclass_must_define():
    with pytest.raises(NotImplementedError, match="sample_data"):
        BaseQuantizer().sample_data(None, ())
    with pytest.raises(NotImplementedError, match="cal_thresholds"):
        BaseQuantizer().cal_thresholds()
    with pytest.raises(CalibrationError, match="at least one"):
        AbsmaxQuantizer().sample_data(None, ())


def test_messages_name_the_given_name_else_the_layer_else_the_type():
    layer = paddle.nn.ReLU()
    quantizer = Forgetful()
    assert quantizer.where() == "Forgetful"
    assert quantizer.where(layer) == layer.full_name()
    quantizer.name = "conv1 input"
    assert quantizer.where(layer) == "conv1 input"


def test_repr_reads_like_the_constructor():
    assert repr(KLQuantizer(4)).startswith("KLQuantizer(quant_bits=4, bins=2048")
