"""The choice among candidate ranges by what they do to the outputs of layers and model."""

from __future__ import annotations

import warnings

import numpy as np
import paddle
import pytest
from models import calibrated, data
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from ptq.calibration.state import state_of
from quantizers import AutoQuantizer, KLQuantizer, MinMaxQuantizer
from quantizers.errors import QuantizationWarning


class Ruinous(KLQuantizer):
    """Clips nearly everything."""

    def _range(self, statistics, kind):
        whole = super()._range(statistics, kind)
        return type(whole)(whole.low / 50, whole.high / 50)


def net() -> nn.Layer:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    model.eval()
    return model


def grids(model: nn.Layer) -> list:
    return [layer.input_qparams for layer in model.sublayers() if hasattr(layer, "input_qparams")]


def auto(*candidates) -> PTQConfig:
    return PTQConfig(AutoQuantizer(candidates=candidates), per_channel_activations=False)


def test_a_ruinous_default_is_replaced_everywhere():
    x = data(32, 16)
    model = calibrated(net(), x, config=auto(Ruinous(), MinMaxQuantizer()))
    converted = ImperativePTQ().convert(model, inplace=False)
    plain = ImperativePTQ().convert(model, inplace=False, activation_quantizer=MinMaxQuantizer())
    assert grids(converted) == grids(plain)
    chosen = [layer._quant_config.in_act_quantizer for layer in converted.sublayers() if hasattr(layer, "input_qparams")]
    assert [quantizer.qparams[0] for quantizer in chosen] == grids(plain)


def test_the_default_stays_without_a_clear_gain():
    x = data(32, 16)
    model = calibrated(net(), x, config=auto(KLQuantizer(), MinMaxQuantizer()))
    converted = ImperativePTQ().convert(model, inplace=False)
    assert grids(converted) == grids(ImperativePTQ().convert(model, inplace=False, activation_quantizer=KLQuantizer()))


def test_each_layer_gets_its_own_choice():
    class Spiky(nn.Layer):
        """The first layer ignores the one huge element of its input; the second needs the largest of its own."""

        def __init__(self):
            super().__init__()
            self.ignores, self.needs = nn.Linear(16, 16), nn.Linear(16, 8)
            weight = self.ignores.weight.numpy()
            weight[0] = 0
            self.ignores.weight.set_value(weight)

        def forward(self, x):
            return self.needs(paddle.tanh(self.ignores(x)))

    x = data(64, 16).numpy()
    x[:, 0] = 400.0
    model = Spiky()
    model.eval()

    class Tight(MinMaxQuantizer):
        def _range(self, statistics, kind):
            whole = super()._range(statistics, kind)
            return type(whole)(whole.low, min(whole.high, 4.0) if whole.high > 100 else whole.high / 3)

    model = calibrated(model, paddle.to_tensor(x), config=auto(MinMaxQuantizer(), Tight()))
    converted = ImperativePTQ().convert(model)
    assert converted.ignores._quant_config.in_act_quantizer.chosen == 1
    assert converted.needs._quant_config.in_act_quantizer.chosen == 0


def test_the_choice_leaves_no_trace_in_the_calibrated_model():
    x = data(32, 16)
    model = calibrated(net(), x, config=auto(Ruinous(), MinMaxQuantizer()))
    model.train()
    before = [layer._quant_config.in_act_quantizer.statistics[0] for layer in model.sublayers() if hasattr(layer, "weight")]
    before = [statistics.copy() for statistics in before]
    ImperativePTQ().convert(model, inplace=False)
    after = [layer._quant_config.in_act_quantizer.statistics[0] for layer in model.sublayers() if hasattr(layer, "weight")]
    assert after == before
    assert all(layer.training for layer in model.sublayers(include_self=True))


def test_retained_samples_are_bounded():
    model = ImperativePTQ().quantize(net())
    with paddle.no_grad():
        for seed in range(5):
            model(data(20, 16, seed=seed))
    samples = state_of(model).seen.samples
    assert [len(sample.arrays[0][0]) for sample in samples] == [20, 20, 20]
    np.testing.assert_array_equal(samples[1].arrays[0][0], data(20, 16, seed=1).numpy())


def test_without_samples_it_warns_and_uses_the_histogram():
    model = calibrated(net(), data(32, 16), config=auto(Ruinous(), MinMaxQuantizer()))
    state_of(model).seen.forget_samples()
    with pytest.warns(QuantizationWarning, match="no calibration samples"):
        converted = ImperativePTQ().convert(model, inplace=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = ImperativePTQ().convert(model, inplace=False, activation_quantizer=MinMaxQuantizer())
    assert grids(converted) == grids(plain)


def test_samples_called_in_different_ways_are_replayed_as_they_were():
    class Masked(nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(16, 4)

        def forward(self, x, mask=None):
            return self.fc(x if mask is None else x * mask)

    model = Masked()
    model.eval()
    prepared = ImperativePTQ(auto(KLQuantizer(), MinMaxQuantizer())).quantize(model)
    with paddle.no_grad():
        prepared(data(4, 16))
        prepared(data(4, 16), mask=data(4, 16))
        prepared(data(4, 16), data(4, 16))
    assert ImperativePTQ().convert(prepared)(data(2, 16)).shape == [2, 4]
