"""`ImperativePTQ.convert`: what is swapped, what stays float, what is refused, and what is left as it was."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, calibrated, converted, data, quietly, relative, small_net
from paddle import nn
from paddle.nn import functional as F  # noqa: N812

from ptq import ImperativePTQ, PTQConfig
from ptq.calibration.hooks import is_calibrating
from ptq.layers import QuantizedConv2D, QuantizedLayer, QuantizedLinear
from quantizers import (
    AbsmaxQuantizer,
    AvgAbsmaxQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    MSEQuantizer,
    PerChannelAbsmaxQuantizer,
)
from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError, NoCalibrationDataError, NonFiniteError, QuantizationWarning

IMAGE = (2, 3, 8, 8)


def _twins(model: nn.Layer) -> dict[str, str]:
    return {name: type(layer).__name__ for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, QuantizedLayer)}


def _picture(model: nn.Layer) -> Any:
    """What `convert` may change."""
    return {
        name: (
            type(layer).__name__,
            {key: id(value) for key, value in vars(layer).items()},
            list(layer._forward_pre_hooks.items()),
            list(layer._forward_post_hooks.items()),
            copy.copy(layer._quant_config.in_act_quantizer.thresholds) if hasattr(layer, "_quant_config") else None,
        )
        for name, layer in model.named_sublayers(include_self=True)
    }


def test_all_compute_layers_are_swapped() -> None:
    model, x = small_net(), data(*IMAGE)
    quantized = converted(model, x, config=absmax(16))
    assert _twins(quantized) == {"conv1": "QuantizedConv2D", "conv2": "QuantizedConv2D", "fc": "QuantizedLinear"}
    assert not is_calibrating(quantized)
    assert not any(layer._forward_pre_hooks or layer._forward_post_hooks for layer in quantized.sublayers(include_self=True))
    assert 0 < relative(quantized(x), model(x)) <= 2e-3


def test_convert_works_in_place_and_answers_the_model() -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    assert ImperativePTQ().convert(prepared) is prepared
    assert isinstance(prepared.conv1, QuantizedConv2D)


def test_paddles_private_name_is_an_alias() -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    ImperativePTQ()._convert(prepared)
    assert isinstance(prepared.conv1, QuantizedConv2D)


def test_a_copy_leaves_the_calibrated_model_alone() -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    before = _picture(prepared)
    first = ImperativePTQ().convert(prepared, inplace=False)
    assert _picture(prepared) == before
    assert _twins(first)
    assert not _twins(prepared)
    prepared(paddle.full(IMAGE, 100.0))  # calibration goes on
    assert prepared.conv1._quant_config.in_act_quantizer.abs_max_vals == [100.0]
    second = ImperativePTQ().convert(prepared)
    assert float(second.conv1.input_scale) > float(first.conv1.input_scale)


class Places(nn.Layer):
    """One Linear at every place where a model can keep a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.alias = self.fc
        self.layers = nn.LayerList([self.fc, nn.ReLU()])
        self.sequence = nn.Sequential(self.fc, nn.ReLU())
        self.table = nn.LayerDict({"a": self.fc})
        self.parameters_by_name = {"deep": [self.fc]}
        self.steps = [self.fc, nn.functional.relu]
        self.pair = (self.fc, 1)
        self.inner = nn.Sequential(nn.Sequential(self.fc))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for layer in (self.fc, self.alias, self.layers[0], self.sequence, self.table["a"], self.steps[0], self.pair[0], self.inner):
            x = layer(x)
        return self.parameters_by_name["deep"][0](x)


def test_every_place_is_swapped() -> None:
    model, x = Places(), data(3, 4)
    quantized = converted(model, x, config=absmax(16))
    twin = quantized.fc
    assert isinstance(twin, QuantizedLinear)
    others = [
        quantized.alias,
        quantized.layers[0],
        quantized.sequence[0],
        quantized.table["a"],
        quantized.parameters_by_name["deep"][0],
        quantized.steps[0],
        quantized.pair[0],
        quantized.inner[0][0],
    ]
    assert all(other is twin for other in others)
    assert relative(quantized(x), model(x)) <= 5e-3
    assert isinstance(model.steps[0], nn.Linear)
    assert not isinstance(model.steps[0], QuantizedLayer)


def test_a_layer_kept_only_in_a_plain_list_is_no_sublayer() -> None:
    """Paddle does not register it, so its parameters are not the model's; it stays float."""
    model = Net(lambda net, x: net.hidden[0](net.fc(x)), fc=nn.Linear(4, 4))
    model.hidden = [nn.Linear(4, 4)]
    quantized = converted(model, data(3, 4))
    assert type(quantized.hidden[0]) is nn.Linear


@pytest.mark.parametrize(
    ("make", "shape"), [(lambda: nn.Linear(4, 2), (3, 4)), (lambda: nn.Conv2D(3, 2, 3), IMAGE)], ids=["Linear", "Conv2D"]
)
def test_a_leaf_as_the_whole_model_is_answered(make: Any, shape: tuple[int, ...]) -> None:
    model, x = make(), data(*shape)
    prepared = calibrated(model, x, config=absmax(16))
    twin = ImperativePTQ().convert(prepared)
    assert twin is not prepared
    assert isinstance(twin, QuantizedLayer)
    assert not is_calibrating(prepared)
    assert relative(twin(x), model(x)) <= 1e-3


def test_two_names_of_one_weight() -> None:
    model = Net(lambda net, x: net.a(x) + net.b(x), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    model.b.weight = model.a.weight
    x = data(3, 4)
    quantized = converted(model, x, config=absmax(16))
    assert relative(quantized(x), model(x)) <= 1e-3
    np.testing.assert_array_equal(quantized.a.weight.numpy(), quantized.b.weight.numpy())


# thresholds


@pytest.mark.parametrize(
    "quantizer",
    [AbsmaxQuantizer(), MinMaxQuantizer(), AvgAbsmaxQuantizer(), HistQuantizer(), KLQuantizer(), MSEQuantizer()],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_thresholds_are_computed(quantizer: Any) -> None:
    x = data(16, 6)
    quantized = converted(nn.Sequential(nn.Linear(6, 4), nn.Tanh()), x, config=PTQConfig(quantizer, PerChannelAbsmaxQuantizer()))
    config = quantized[0]._quant_config
    (threshold,) = config.in_act_quantizer.thresholds
    assert 0 < threshold <= float(x.abs().max()) * 1.0001
    assert len(config.wt_quantizer.thresholds[0]) == 4
    assert len(quantized[1]._quant_config.out_act_quantizer.thresholds) == 1
    qparams = config.in_act_quantizer.qparams[0]
    assert float(quantized[0].input_scale) == float(qparams.scale)
    assert max(np.abs([qparams.low, qparams.high])) == pytest.approx(threshold, rel=0.02)


def test_nonnegative_inputs_have_unsigned_grids() -> None:
    model = Net(lambda net, x: net.second(F.relu(net.first(x))), first=nn.Linear(4, 4), second=nn.Linear(4, 2))
    quantized = converted(model, data(8, 4))
    assert (quantized.second.input_qparams.quant_min, quantized.second.input_qparams.quant_max) == (0, 255)
    assert float(quantized.second.input_zero_point) == 0
    assert quantized.first.input_qparams.signed


def test_signed_inputs_have_asymmetric_grids_by_default() -> None:
    x = data(64, 4).abs() - 0.375  # like HardSwish: a long positive side, a short negative one
    twin = converted(nn.Linear(4, 2), x, config=PTQConfig(MinMaxQuantizer()))
    qparams = twin.input_qparams
    assert (qparams.quant_min, qparams.quant_max) == (0, 255)
    assert 0 < int(qparams.zero_point) < 128
    assert twin.input_zero_point.dtype == twin.input_scale.dtype == paddle.float32
    assert float(twin.quantize_input(paddle.zeros([1, 4])).abs().max()) == 0
    assert relative(twin.quantize_input(x), x) <= 0.5 / 255 * 1.2


def test_data_wins_over_a_wrong_graph() -> None:
    """Paddle traces ``subtract_`` as if it made a new tensor, so that the graph takes the changed tensor for the ReLU's output."""

    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        y = F.relu(x)
        y.subtract_(paddle.full([1], 3.0))
        return net.fc(y)

    model, x = Net(forward, fc=nn.Linear(4, 4)), data(8, 4)
    x.stop_gradient = True
    assert relative(quietly(lambda: converted(model, x, config=absmax(16)))(x), model(x)) <= 1e-2


def test_bits_of_activations_and_weights_are_independent() -> None:
    twin = converted(nn.Linear(6, 4), data(16, 6), config=absmax(12, 5))
    assert twin.input_qparams.num_bits == 12
    assert int(twin.weight_quantized.astype("int32").abs().max()) == 15


# what stays float


def _untouched(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.used(x)


def test_unreached_layers_stay_float_with_a_warning_that_lists_them() -> None:
    model = Net(_untouched, used=nn.Linear(4, 4), head=nn.Linear(4, 2), block=nn.Sequential(nn.Conv2D(3, 2, 1)))
    prepared = calibrated(model, data(3, 4))
    with pytest.warns(QuantizationWarning, match=r"no calibration data reached them: head, block\.0") as caught:
        quantized = ImperativePTQ().convert(prepared)
    assert [warning.filename for warning in caught] == [__file__]  # it points at the user's line
    assert _twins(quantized) == {"used": "QuantizedLinear"}
    assert type(quantized.head) is nn.Linear
    assert type(quantized.block[0]) is nn.Conv2D
    assert not is_calibrating(quantized)
    assert quantized.head(data(3, 4)).shape == [3, 2]


@pytest.mark.parametrize("calls", [0, 1])
def test_no_data_at_all_is_an_error(calls: int) -> None:
    model = Net(lambda _, x: x + 1, fc=nn.Linear(4, 4))
    prepared = calibrated(model, *[data(3, 4)] * calls)
    before = _picture(prepared)
    with pytest.raises(NoCalibrationDataError, match=rf"first: 'fc'; the model was called {calls} times"):
        ImperativePTQ().convert(prepared)
    assert _picture(prepared) == before


def test_a_model_without_anything_to_quantize() -> None:
    prepared = quietly(lambda: calibrated(nn.Sequential(nn.ReLU()), data(3, 4)))
    with pytest.raises(ModelError, match="no layer that can be quantized"):
        ImperativePTQ().convert(prepared)


# what is refused


def test_convert_without_quantize() -> None:
    with pytest.raises(ModelError, match=r"prepared with ImperativePTQ\.quantize"):
        ImperativePTQ().convert(small_net())


@pytest.mark.parametrize("thing", [None, 3, nn.Linear])
def test_convert_something_else(thing: Any) -> None:
    with pytest.raises(ModelError):
        ImperativePTQ().convert(thing)


@pytest.mark.parametrize("inplace", [True, False])
def test_convert_twice(inplace: bool) -> None:
    quantized = converted(small_net(), data(*IMAGE))
    answer = quantized(data(*IMAGE)).numpy()
    with pytest.raises(ModelError, match="not converted yet"):
        ImperativePTQ().convert(quantized, inplace=inplace)
    np.testing.assert_array_equal(quantized(data(*IMAGE)).numpy(), answer)
    with pytest.raises(AlreadyQuantizedError):
        ImperativePTQ().quantize(quantized)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(bad: float) -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    weight = prepared.fc.weight.numpy()
    weight[0, 0] = bad
    prepared.fc.weight.set_value(weight)
    before = _picture(prepared)
    with pytest.raises(NonFiniteError, match="layer 'fc' weight"):
        ImperativePTQ().convert(prepared)
    after = _picture(prepared)
    assert {name: picture[:4] for name, picture in after.items()} == {name: picture[:4] for name, picture in before.items()}
    assert is_calibrating(prepared)


def test_a_batch_that_is_not_finite_poisons_the_calibration() -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    bad = data(*IMAGE).numpy()
    bad[1, 2, 3, 4] = np.nan
    with pytest.raises(NonFiniteError, match="layer 'conv1' input: batch 1"):
        prepared(paddle.to_tensor(bad))
    prepared(data(*IMAGE))  # later batches do not make it good
    with pytest.raises(NonFiniteError, match="layer 'conv1' input: batch 1"):
        ImperativePTQ().convert(prepared)


# other rules on the same statistics


def test_override_of_the_rules() -> None:
    prepared = calibrated(small_net(), data(*IMAGE), data(*IMAGE, seed=1), config=PTQConfig(KLQuantizer()))
    before, engine = _picture(prepared), ImperativePTQ()
    plain = engine.convert(prepared, inplace=False)
    other = engine.convert(prepared, inplace=False, activation_quantizer=AbsmaxQuantizer(4), weight_quantizer=AbsmaxQuantizer(5))
    assert _picture(prepared) == before
    assert plain.conv1.input_qparams.num_bits == 8
    assert other.conv1.input_qparams.num_bits == 4
    assert isinstance(other.conv1._quant_config.in_act_quantizer, AbsmaxQuantizer)
    assert int(other.conv1.weight_quantized.astype("int32").abs().max()) == 15
    assert other.conv1.weight_scale.numpy().size == 1
    assert other.conv1._quant_config.in_act_quantizer.name == "layer 'conv1' input"
    assert isinstance(prepared.conv1._quant_config.in_act_quantizer, KLQuantizer)
    again = engine.convert(prepared)  # and the calibrated rule still works
    for name in _twins(plain):
        first, second = plain.get_sublayer(name), again.get_sublayer(name)
        assert float(first.input_scale) == float(second.input_scale), name


def test_override_gives_what_calibrating_with_it_would() -> None:
    batches = [data(*IMAGE, seed=seed) for seed in range(3)]
    model = small_net()
    for rule in (AbsmaxQuantizer(), MinMaxQuantizer(), AvgAbsmaxQuantizer(), HistQuantizer(), MSEQuantizer(), KLQuantizer(6)):
        direct = converted(model, *batches, config=PTQConfig(rule))
        prepared = calibrated(model, *batches, config=PTQConfig(KLQuantizer()))
        adopted = ImperativePTQ().convert(prepared, activation_quantizer=rule)
        for name in _twins(direct):
            a, b = direct.get_sublayer(name), adopted.get_sublayer(name)
            assert a.input_qparams == b.input_qparams, (type(rule).__name__, name)


def test_override_does_not_change_the_given_quantizers() -> None:
    rule, weights = AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(4)
    ImperativePTQ().convert(calibrated(small_net(), data(*IMAGE)), activation_quantizer=rule, weight_quantizer=weights)
    assert rule.statistics == []
    assert rule.name == weights.name == ""
    assert rule.thresholds == weights.thresholds == []


@pytest.mark.parametrize("role", ["activation_quantizer", "weight_quantizer"])
def test_override_by_something_else(role: str) -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    before = _picture(prepared)
    with pytest.raises(ConfigError, match=role):
        ImperativePTQ().convert(prepared, **{role: AbsmaxQuantizer})
    assert _picture(prepared) == before


# whole models


def test_copies_of_a_converted_model() -> None:
    quantized, x = converted(small_net(), data(*IMAGE)), data(*IMAGE, seed=1)
    expected = quantized(x).numpy()
    np.testing.assert_array_equal(copy.deepcopy(quantized)(x).numpy(), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(quantized))(x).numpy(), expected)


def test_copies_of_a_calibrated_model_can_be_converted() -> None:
    prepared, x = calibrated(small_net(), data(*IMAGE)), data(*IMAGE, seed=1)
    copies = [copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))]
    expected = ImperativePTQ().convert(prepared)(x).numpy()
    for copied in copies:
        np.testing.assert_array_equal(ImperativePTQ().convert(copied)(x).numpy(), expected)


@pytest.mark.parametrize("training", [True, False])
def test_twins_keep_the_mode_of_their_layers(training: bool) -> None:
    model = small_net()
    model.train() if training else model.eval()
    model.conv1.training = not training
    quantized = quietly(lambda: converted(model, data(*IMAGE)))  # which warns of train mode
    assert [quantized.conv1.training, quantized.conv2.training, quantized.training] == [not training, training, training]


def test_parameters_and_buffers_of_other_layers_are_the_same_objects() -> None:
    prepared = calibrated(small_net(), data(*IMAGE))
    bias, mean = prepared.conv2.bias, prepared.bn1._mean
    quantized = ImperativePTQ().convert(prepared)
    assert quantized.conv2.bias is bias
    assert quantized.bn1._mean is mean


def test_a_model_in_a_transformer() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32)
    model = nn.TransformerEncoder(layer, 2)
    model.eval()
    x = data(2, 5, 16)
    quantized = converted(model, x, config=absmax(16))
    assert len(_twins(quantized)) == 12
    assert relative(quantized(x), model(x)) <= 2e-3
