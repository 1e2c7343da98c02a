"""A user's own quantizer, written for Paddle: just ``sample_data`` and ``cal_thresholds``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import calibrated, data, relative, small_net
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import ImperativePTQ, PTQConfig
from quantizers import AbsmaxQuantizer, BaseQuantizer, KLQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ConfigError, NoCalibrationDataError, NonFiniteError


class LastBatch(BaseQuantizer):
    """The abs-max of the last batch."""

    def sample_data(self, layer: Any, tensors: Any) -> None:
        assert layer is None or isinstance(layer, nn.Layer)
        assert isinstance(tensors, tuple)
        self.abs_max_vals = [float(tensor.abs().max()) for tensor in tensors]

    def cal_thresholds(self) -> None:
        self.thresholds = self.abs_max_vals


class WithoutSuper(BaseQuantizer):
    """Written without ``super().__init__``, with attributes of its own and NumPy scalars as thresholds."""

    def __init__(self) -> None:
        self.quant_bits = 6
        self.largest = 0.0

    def sample_data(self, layer: Any, tensors: Any) -> None:  # noqa: ARG002 - Paddle's signature
        self.largest = max(self.largest, float(tensors[0].abs().max()))

    def cal_thresholds(self) -> None:
        self.thresholds = [np.float32(self.largest)]


class WeightChannels(BaseQuantizer):
    """Half the abs-max of every output column of a Linear."""

    def sample_data(self, layer: Any, tensors: Any) -> None:
        assert isinstance(layer, nn.Linear)
        self.abs_max_vals = [tensors[0].abs().max(axis=0).tolist()]

    def cal_thresholds(self) -> None:
        self.thresholds = [[value / 2 for value in self.abs_max_vals[0]]]


@pytest.mark.parametrize("kind", [LastBatch, WithoutSuper])
def test_through_saving_and_loading(kind: Any, tmp_path: Path) -> None:
    engine = ImperativePTQ(PTQConfig(kind(), kind()))
    float_model = small_net()
    model = engine.quantize(float_model, fuse=True)
    for seed in range(2):
        model(data(8, 3, 8, 8, seed=seed))
    engine.save_quantized_model(model, str(tmp_path / "model"), input_spec=[InputSpec([None, 3, 8, 8], "float32")])
    x = data(3, 3, 8, 8, seed=5)
    answer = ptq.load(tmp_path / "model")(x)
    assert relative(answer, model(x)) <= 1e-5
    assert relative(answer, float_model(x)) <= 0.2
    bits = kind().quant_bits
    config = model.fc._quant_config
    assert len(config.in_act_quantizer.thresholds) == 1
    assert config.in_act_quantizer.qparams[0].signed  # symmetric, though the input is never negative
    assert int(model.fc.weight_quantized.astype("int32").abs().max()) == 2 ** (bits - 1) - 1
    assert float(model.fc.input_scale) == pytest.approx(config.in_act_quantizer.thresholds[0] / (2 ** (bits - 1) - 1))


def test_its_own_rule_counts() -> None:
    model = calibrated(
        nn.Linear(3, 2), paddle.full([1, 3], 90.0), paddle.full([1, 3], 2.0), config=PTQConfig(LastBatch(), PerChannelAbsmaxQuantizer())
    )
    twin = ImperativePTQ().convert(model)
    assert twin._quant_config.in_act_quantizer.thresholds == [2.0]


def test_weight_thresholds_per_channel() -> None:
    layer = nn.Linear(6, 5)
    model = calibrated(layer, data(4, 6), config=PTQConfig(AbsmaxQuantizer(), WeightChannels()))
    twin = ImperativePTQ().convert(model)
    limits = layer.weight.abs().max(axis=0).numpy() / 2
    np.testing.assert_allclose(twin.weight.abs().max(axis=0).numpy(), limits, rtol=1e-5)
    assert twin.weight_scale.shape == [1, 5]


def test_it_sees_the_layer_and_a_tuple_of_tensors() -> None:
    seen: list[Any] = []

    class Watching(LastBatch):
        def sample_data(self, layer: Any, tensors: Any) -> None:
            seen.append((layer, [tensor.shape for tensor in tensors]))
            super().sample_data(layer, tensors)

    layer = ImperativePTQ(PTQConfig(Watching(), PerChannelAbsmaxQuantizer())).quantize(nn.Linear(3, 2))
    layer(data(4, 3))
    assert seen == [(layer, [[4, 3]])]


def test_data_that_is_not_finite_never_reaches_it() -> None:
    model = calibrated(nn.Linear(3, 2), data(4, 3), config=PTQConfig(LastBatch(), PerChannelAbsmaxQuantizer()))
    with pytest.raises(NonFiniteError, match="layer '' input, batch 1"):
        model(paddle.full([1, 3], float("nan")))


@pytest.mark.parametrize(
    ("thresholds", "error"),
    [
        ([], NoCalibrationDataError),
        ([-1.0], ConfigError),
        ([float("nan")], NonFiniteError),
        (["a"], ConfigError),
        ([1.0, 2.0], ConfigError),
    ],
)
def test_useless_thresholds_are_refused(thresholds: list[Any], error: type[Exception]) -> None:
    class Useless(LastBatch):
        def cal_thresholds(self) -> None:
            self.thresholds = thresholds

    model = calibrated(nn.Linear(3, 2), data(4, 3), config=PTQConfig(Useless(), PerChannelAbsmaxQuantizer()))
    with pytest.raises(error):
        ImperativePTQ().convert(model)
    assert model._forward_post_hooks  # the calibrated model is as it was


def test_a_layer_that_it_never_saw_stays_float() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model.unused = nn.Linear(3, 2)
    model.forward = lambda x: model[0](x)  # type: ignore[method-assign]
    prepared = ImperativePTQ(PTQConfig(LastBatch(), PerChannelAbsmaxQuantizer())).quantize(model, inplace=True)
    prepared(data(4, 3))
    with pytest.warns(UserWarning, match="unused"):
        converted = ImperativePTQ().convert(prepared)
    assert type(converted.unused) is nn.Linear


def test_it_cannot_take_over_statistics() -> None:
    model = calibrated(nn.Linear(3, 2), data(4, 3), config=PTQConfig(LastBatch(), PerChannelAbsmaxQuantizer()))
    with pytest.raises(ConfigError, match="StatisticsQuantizer"):
        ImperativePTQ().convert(model, activation_quantizer=KLQuantizer())
