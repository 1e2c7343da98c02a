"""`ImperativePTQ.quantize`: which layers get hooks, what the hooks see, and what stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, calibrated, data, quietly, small_net
from paddle import nn
from paddle.static import InputSpec

from ptq import ImperativePTQ
from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError, NonFiniteError, QuantizationWarning, TraceError


def _hooks(model: nn.Layer) -> dict[str, int]:
    """Number of forward hooks by layer name, layers without left out."""
    counts = {
        name: len(layer._forward_pre_hooks) + len(layer._forward_post_hooks) for name, layer in model.named_sublayers(include_self=True)
    }
    return {name: count for name, count in counts.items() if count}


def _picture(model: nn.Layer) -> dict[str, Any]:
    """Attributes, hooks and modes of every layer, to be compared later."""
    return {
        name: ({key: id(value) for key, value in vars(layer).items()}, list(layer._forward_pre_hooks), list(layer._forward_post_hooks))
        for name, layer in model.named_sublayers(include_self=True)
    }


def test_hooks_on_leaf_layers_only() -> None:
    model = ImperativePTQ().quantize(small_net())
    assert _hooks(model) == {"": 1, "conv1": 1, "bn1": 1, "conv2": 1, "bn2": 1, "relu": 1, "pool": 1, "fc": 1}


def test_the_users_model_is_untouched() -> None:
    model, x = small_net(), data(2, 3, 8, 8)
    before, weights, expected = _picture(model), {k: v.numpy() for k, v in model.state_dict().items()}, model(x).numpy()
    prepared = ImperativePTQ().quantize(model, fuse=True)
    prepared(x)
    ImperativePTQ().convert(prepared)
    assert prepared is not model
    assert _picture(model) == before
    assert all((weights[key] == value.numpy()).all() for key, value in model.state_dict().items())
    np.testing.assert_array_equal(model(x).numpy(), expected)


def test_inplace_prepares_the_model_itself() -> None:
    model = small_net()
    assert ImperativePTQ().quantize(model, inplace=True) is model
    assert len(_hooks(model)) == 8


def test_prepared_model_computes_the_same() -> None:
    model, x = small_net(), data(2, 3, 8, 8)
    np.testing.assert_array_equal(ImperativePTQ().quantize(model)(x).numpy(), model(x).numpy())


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_kept(training: bool) -> None:
    model = small_net()
    model.train() if training else model.eval()
    model.bn1.eval()
    prepared = quietly(lambda: ImperativePTQ().quantize(model))  # which warns of train mode
    prepared(data(2, 3, 8, 8))
    modes = {name: layer.training for name, layer in model.named_sublayers(include_self=True)}
    assert {name: layer.training for name, layer in prepared.named_sublayers(include_self=True)} == modes
    converted = ImperativePTQ().convert(prepared)
    assert {name: layer.training for name, layer in converted.named_sublayers(include_self=True)} == modes


def test_the_calibration_hook_runs_first() -> None:
    """A hook of the user's that changes the output must not change what is observed."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    order: list[str] = []
    model[1].register_forward_post_hook(lambda _, __, output: order.append("user") or output * 1000)
    prepared = ImperativePTQ(absmax()).quantize(model, inplace=True)
    keys = list(prepared[1]._forward_post_hooks)
    assert prepared[1]._quant_config.quant_hook_handle._hook_id == keys[0]
    x = data(4, 3)
    prepared(x)
    largest = float(nn.functional.relu(model[0](x)).max())
    assert prepared[1]._quant_config.out_act_quantizer.abs_max_vals == [pytest.approx(largest)]
    assert order


def test_the_observed_batch_is_what_the_user_passed() -> None:
    """A pre-hook of the user's would be applied twice when the batch is used again."""
    model = nn.Sequential(nn.Linear(3, 3))
    model.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 1000,))
    x = data(4, 3)
    prepared = calibrated(model, x)
    np.testing.assert_array_equal(prepared._ptq_observation.first_batch[0][0], x.numpy())
    assert prepared[0]._quant_config.in_act_quantizer.abs_max_vals == [pytest.approx(float(x.abs().max()) * 1000)]


def test_a_layer_whose_weight_is_recomputed_stays_float_with_a_warning() -> None:
    """By a hook of the user's own; what Paddle's weight and spectral norm compute is frozen."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    weight = model[0]._parameters.pop("weight")
    model[0].weight = weight * 1
    model[0].register_forward_pre_hook(lambda layer, _: setattr(layer, "weight", weight * 1))
    with pytest.warns(QuantizationWarning, match="0"):
        ImperativePTQ().quantize(model)


class _ConvAct(nn.Conv2D):
    """A convolution with a layer of its own."""

    def __init__(self) -> None:
        super().__init__(3, 4, 3)
        self.act = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.act(super().forward(x))


def test_a_subclass_with_children_and_a_forward_of_its_own_is_named() -> None:
    model = nn.Sequential(_ConvAct(), nn.Conv2D(4, 2, 3))
    with pytest.warns(QuantizationWarning, match="_ConvAct"):
        ImperativePTQ().quantize(model)


def test_layers_called_by_keyword_are_seen() -> None:
    model = Net(lambda net, x: net.conv(x=net.fc(input=x)), fc=nn.Linear(6, 6), conv=nn.Conv1D(3, 2, 1))
    x = data(2, 3, 6)
    prepared = calibrated(model, x)
    assert prepared.fc._quant_config.in_act_quantizer.abs_max_vals == [pytest.approx(float(x.abs().max()))]
    assert prepared.conv._quant_config.in_act_quantizer.abs_max_vals == [pytest.approx(float(model.fc(x).abs().max()))]


def test_batches_accumulate() -> None:
    prepared = calibrated(nn.Linear(3, 2), paddle.ones([4, 3]), paddle.full([2, 3], -7.0), paddle.full([1, 3], 2.0))
    assert prepared._quant_config.in_act_quantizer.abs_max_vals == [7.0]
    assert prepared._quant_config.in_act_quantizer.statistics[0].items == 7


def test_a_layer_used_twice_sees_both_inputs() -> None:
    model = Net(lambda net, x: net.fc(net.fc(x) * 100), fc=nn.Linear(3, 3))
    x = data(4, 3)
    prepared = calibrated(model, x)
    assert prepared.fc._quant_config.in_act_quantizer.abs_max_vals == [pytest.approx(float((model.fc(x) * 100).abs().max()))]


def test_skip_quant() -> None:
    model = small_net()
    model.conv1.skip_quant = True
    model.relu.skip_quant = True
    prepared = ImperativePTQ().quantize(model)
    assert set(_hooks(prepared)) == {"", "bn1", "conv2", "bn2", "pool", "fc"}
    prepared(data(2, 3, 8, 8))
    converted = ImperativePTQ().convert(prepared)
    assert type(converted.conv1) is nn.Conv2D
    assert type(converted.conv2) is not nn.Conv2D


def test_skip_quant_of_a_block_skips_all_below_it() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), nn.Linear(3, 2))
    model[0].skip_quant = True
    assert set(_hooks(ImperativePTQ().quantize(model))) == {"", "1"}


def test_skip_quant_false_is_no_skip() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].skip_quant = False
    assert set(_hooks(ImperativePTQ().quantize(model))) == {"", "0", "1"}


@pytest.mark.parametrize("inplace", [True, False])
def test_quantizing_twice_is_an_error(inplace: bool) -> None:
    model = ImperativePTQ().quantize(small_net())
    before = _hooks(model)
    with pytest.raises(AlreadyQuantizedError, match="prepared by quantize already"):
        ImperativePTQ().quantize(model, inplace=inplace)
    assert _hooks(model) == before


def test_quantizing_a_part_of_a_prepared_model_is_an_error() -> None:
    model = ImperativePTQ().quantize(nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 2)))
    with pytest.raises(AlreadyQuantizedError):
        ImperativePTQ().quantize(model[0])
    with pytest.raises(AlreadyQuantizedError):
        ImperativePTQ().quantize(nn.Sequential(model, nn.ReLU()))


def test_quantizing_a_converted_model_is_an_error() -> None:
    converted = ImperativePTQ().convert(calibrated(small_net(), data(2, 3, 8, 8)))
    for model in (converted, nn.Sequential(converted), nn.Sequential(converted.conv1)):
        with pytest.raises(AlreadyQuantizedError, match=r"already"):
            ImperativePTQ().quantize(model)


@pytest.mark.parametrize("model", [None, nn.Linear, lambda x: x])
def test_only_layers_can_be_quantized(model: object) -> None:
    with pytest.raises(ModelError, match=r"paddle\.nn\.Layer"):
        ImperativePTQ().quantize(model)


def test_static_mode_is_refused() -> None:
    model = small_net()
    paddle.enable_static()
    try:
        with pytest.raises(ModelError, match="disable_static"):
            ImperativePTQ().quantize(model)
    finally:
        paddle.disable_static()


def test_a_model_that_was_turned_static_is_refused() -> None:
    model = paddle.jit.to_static(nn.Sequential(nn.Linear(3, 2)), full_graph=True)
    with pytest.raises(ModelError, match="to_static"):
        ImperativePTQ().quantize(model)


def test_fuse_list_without_fuse_is_refused() -> None:
    with pytest.raises(ConfigError, match="fuse=True"):
        ImperativePTQ().quantize(small_net(), fuse_list=[["conv1", "bn1"]])


@pytest.mark.parametrize("spec", ["float32", 3, {"x": None}])
def test_bad_input_spec_is_refused(spec: object) -> None:
    with pytest.raises(ConfigError, match="input_spec must be a list"):
        ImperativePTQ().quantize(small_net(), input_spec=spec)


def test_a_model_without_layers_to_quantize_warns() -> None:
    with pytest.warns(QuantizationWarning, match="no layer that can be quantized"):
        ImperativePTQ().quantize(nn.Sequential(nn.ReLU()))


def test_all_layers_are_sampled_once_per_call_by_hooks_of_a_copy() -> None:
    """A deep copy of a prepared model counts for itself."""
    model = ImperativePTQ(absmax()).quantize(nn.Linear(3, 2))
    model(paddle.ones([1, 3]))
    copied = copy.deepcopy(model)
    copied(paddle.full([1, 3], 50.0))
    assert model._quant_config.in_act_quantizer.abs_max_vals == [1.0]
    assert copied._quant_config.in_act_quantizer.abs_max_vals == [50.0]
    assert copied._quant_config.in_act_quantizer.statistics[0].items == 2
    assert ImperativePTQ().convert(copied)._quant_config.in_act_quantizer.thresholds == [50.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_not_finite_input_is_an_error_at_once(bad: float) -> None:
    model = Net(lambda net, x: net.second(net.first(x)), first=nn.Linear(3, 3), second=nn.Linear(3, 2))
    prepared = calibrated(model, data(4, 3), data(4, 3, seed=1))
    with pytest.raises(NonFiniteError, match=r"layer 'first' input: batch 2 holds (NaN|Inf)"):
        prepared(paddle.to_tensor([[1.0, bad, 0.0]]))
    with pytest.raises(NonFiniteError, match=r"layer 'first' input"):
        ImperativePTQ().convert(prepared)  # and the batch cannot be forgotten


def test_batch_is_named_right_when_a_layer_is_used_twice() -> None:
    model = Net(lambda net, x: net.fc(net.fc(x)), fc=nn.Linear(3, 3))
    prepared = calibrated(model, data(4, 3))
    with pytest.raises(NonFiniteError, match=r"layer 'fc' input: batch 1 holds NaN"):
        prepared(paddle.full([4, 3], float("nan")))


def test_not_finite_value_in_the_middle_names_the_layer_that_receives_it() -> None:
    model = Net(lambda net, x: net.second(net.first(x).log()), first=nn.Linear(3, 3), second=nn.Linear(3, 2))
    prepared = ImperativePTQ(absmax()).quantize(model)
    with pytest.raises(NonFiniteError, match=r"layer 'second' input: batch 0 holds NaN"):
        prepared(data(4, 3))


def test_hooks_do_nothing_while_paddle_traces(tmp_path: Any) -> None:
    model = calibrated(nn.Sequential(nn.Linear(3, 2)), paddle.ones([1, 3]))
    paddle.jit.save(model, str(tmp_path / "model"), input_spec=[InputSpec([None, 3], "float32")])
    assert model[0]._quant_config.in_act_quantizer.abs_max_vals == [1.0]
    assert model._ptq_observation.batches == 1
    model(paddle.full([1, 3], 9.0))
    assert model[0]._quant_config.in_act_quantizer.abs_max_vals == [9.0]


@pytest.mark.parametrize("spec", [InputSpec([None, 3, 8, 8], "float32"), data(2, 3, 8, 8)], ids=["InputSpec", "Tensor"])
@pytest.mark.parametrize("wrap", [lambda spec: [spec], lambda spec: (spec,), lambda spec: spec], ids=["list", "tuple", "bare"])
def test_input_spec_traces_at_once(spec: Any, wrap: Any) -> None:
    prepared = ImperativePTQ().quantize(small_net(), input_spec=wrap(spec))
    assert prepared._ptq_observation.graph is not None
    assert prepared.fc._quant_config.in_act_quantizer.nonnegative is True
    assert prepared.bn2._quant_config.enable_out_act_quantizer is True
    assert prepared.bn1._quant_config.enable_out_act_quantizer is False


def test_without_input_spec_the_first_batch_traces() -> None:
    prepared = ImperativePTQ().quantize(small_net())
    assert prepared._ptq_observation.graph is None
    prepared(data(2, 3, 8, 8))
    assert prepared._ptq_observation.graph is not None
    assert prepared.fc._quant_config.in_act_quantizer.nonnegative is True
    assert prepared.conv1._quant_config.in_act_quantizer.nonnegative is not True


def test_a_model_that_cannot_be_traced_is_calibrated_with_a_warning() -> None:
    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        return net.fc(paddle.to_tensor(x.tolist()))

    prepared = ImperativePTQ(absmax()).quantize(Net(forward, fc=nn.Linear(3, 2)))
    with pytest.warns(QuantizationWarning, match="cannot be traced"):
        prepared(paddle.ones([1, 3]))
    prepared(paddle.full([1, 3], 3.0))  # warned once
    assert ImperativePTQ().convert(prepared).fc._quant_config.in_act_quantizer.thresholds == [3.0]


def test_only_a_part_is_called() -> None:
    """Calling a sublayer of the prepared model calibrates it too; then nothing is traced."""
    prepared = ImperativePTQ(absmax()).quantize(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)))
    prepared[1](paddle.ones([1, 3]))
    with pytest.warns(QuantizationWarning) as warned:
        converted = ImperativePTQ().convert(prepared)
    messages = " ".join(str(warning.message) for warning in warned)
    assert "no calibration data reached them: 0" in messages
    assert "never called" in messages
    assert type(converted[0]) is nn.Linear
    assert type(converted[1]) is not nn.Linear


def test_quantize_gives_thresholds_that_do_not_depend_on_batching() -> None:
    x = data(12, 3)
    whole, parts = calibrated(nn.Linear(3, 2), x), calibrated(nn.Linear(3, 2), *paddle.split(x, 4))
    statistics = [model._quant_config.in_act_quantizer.statistics[0] for model in (whole, parts)]
    np.testing.assert_array_equal(statistics[0].histogram.magnitude_counts, statistics[1].histogram.magnitude_counts)


def test_integer_outputs_and_several_outputs() -> None:
    """Max pooling with ``return_mask`` answers with values and indices; only the values are sampled."""
    model = Net(lambda net, x: net.pool(net.conv(x)), conv=nn.Conv2D(3, 2, 3), pool=nn.MaxPool2D(2, return_mask=True))
    prepared = quietly(lambda: calibrated(model, data(2, 3, 8, 8)))
    assert len(prepared.pool._quant_config.out_act_quantizer.abs_max_vals) == 1


def test_a_data_parallel_model_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="_layers"):
        ImperativePTQ().quantize(paddle.DataParallel(nn.Linear(3, 2)))


@pytest.mark.parametrize("act", ["leaky_relu", "elu"])
def test_what_would_crash_the_tracer_is_not_traced(act: str) -> None:
    model = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm(4, act=act))
    with pytest.raises(TraceError, match=r"1: .*ends the process"):
        ImperativePTQ().quantize(model, fuse=True, input_spec=[InputSpec([None, 3, 8, 8], "float32")])
