"""Requests that would silently give another model than the user asked for."""

from __future__ import annotations

from typing import Any

import paddle
import pytest
from models import Net, calibrated, converted, data, quietly, randomize_norms, relative, small_net
from paddle import nn
from paddle.static import InputSpec

from ptq import ImperativePTQ, PTQConfig
from quantizers import AbsmaxQuantizer, BaseQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ConfigError, FuseError, ModelError, NonFiniteError

IMAGE = (2, 4, 6, 6)


def conv(inputs: int = 4) -> nn.Conv2D:
    return nn.Conv2D(inputs, 4, 3, padding=1)


WRONG_PAIRS = {
    "an activation between": lambda: Net(lambda n, x: n.bn(n.relu(n.conv(x))), conv=conv(), relu=nn.ReLU(), bn=nn.BatchNorm2D(4)),
    "a shared batch norm": lambda: Net(lambda n, x: n.bn(n.conv(x)) + n.bn(n.other(x)), conv=conv(), other=conv(), bn=nn.BatchNorm2D(4)),
    "a convolution used twice": lambda: Net(lambda n, x: n.bn(n.conv(n.conv(x))), conv=conv(), bn=nn.BatchNorm2D(4)),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["input_spec", "first batch"])
@pytest.mark.parametrize("case", WRONG_PAIRS)
def test_fuse_list_is_held_against_the_dataflow(case: str, at_once: bool) -> None:
    model = randomize_norms(WRONG_PAIRS[case]())
    options: dict[str, Any] = {"input_spec": [InputSpec([None, *IMAGE[1:]], "float32")]} if at_once else {}
    with pytest.raises(FuseError, match=r"'conv', 'bn'.*does not take exactly"):
        calibrated(model, data(*IMAGE), fuse=True, fuse_list=[["conv", "bn"]], **options)


def test_output_of_the_convolution_used_elsewhere_is_found_with_input_spec() -> None:
    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        y = net.conv(x)
        return net.bn(y) + y

    model = randomize_norms(Net(forward, conv=conv(), bn=nn.BatchNorm2D(4)))
    with pytest.raises(FuseError, match="does not take exactly"):
        ImperativePTQ().quantize(model, fuse=True, fuse_list=[["conv", "bn"]], input_spec=[InputSpec([None, *IMAGE[1:]], "float32")])


def test_fuse_without_a_call_of_the_model_is_an_error() -> None:
    prepared = ImperativePTQ().quantize(small_net(), fuse=True)
    prepared.forward(data(2, 3, 8, 8))
    with pytest.raises(FuseError, match="never called"):
        ImperativePTQ().convert(prepared)


def test_statistics_do_not_trust_a_tensor_refilled_between_calls_of_a_part() -> None:
    prepared = ImperativePTQ(PTQConfig(AbsmaxQuantizer())).quantize(nn.Sequential(nn.Linear(4, 2)))
    x = paddle.ones([2, 4])
    prepared[0](x)
    x.set_value(paddle.full([2, 4], 5.0))
    prepared[0](x)
    assert prepared[0]._quant_config.in_act_quantizer.abs_max_vals == [5.0]


@pytest.mark.parametrize("config", [PTQConfig(), PTQConfig(AbsmaxQuantizer())], ids=["KL", "abs-max"])
def test_state_dict_carries_the_whole_grid(config: PTQConfig) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    signed, positive = (converted(model, x, config=config) for x in (data(32, 4), data(32, 4).abs()))
    x = data(8, 4, seed=1)
    for source, target in ((signed, positive), (positive, signed)):
        target = converted(model, data(32, 4, seed=2) * 3 + 1, config=config)
        target.set_state_dict(source.state_dict())
        assert relative(target(x), source(x)) == 0


def test_a_symmetric_rule_is_unsigned_only_where_the_graph_proves_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    prepared = converted(model, data(16, 4).abs(), config=PTQConfig(AbsmaxQuantizer()))
    assert prepared[0].input_qparams.signed
    assert not prepared[2].input_qparams.signed


class LastMax(BaseQuantizer):
    """As users of Paddle write them."""

    def sample_data(self, layer: Any, tensors: Any) -> None:
        del layer
        self.abs_max_vals = [float(tensors[0].abs().max())]

    def cal_thresholds(self) -> None:
        self.thresholds = self.abs_max_vals


def test_nan_is_not_forgotten_with_a_quantizer_of_the_users_own() -> None:
    prepared = ImperativePTQ(PTQConfig(LastMax())).quantize(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(NonFiniteError):
        prepared(paddle.full([2, 4], float("nan")))
    prepared(paddle.ones([2, 4]))
    with pytest.raises(NonFiniteError, match="batch 0"):
        ImperativePTQ().convert(prepared)


def test_a_range_per_channel_is_no_range_of_an_input() -> None:
    with pytest.raises(ConfigError, match="for weights"):
        PTQConfig(PerChannelAbsmaxQuantizer())

    class PerColumn(LastMax):
        def cal_thresholds(self) -> None:
            self.thresholds = [[1.0, 2.0, 3.0, 4.0]]

    with pytest.raises(ConfigError, match=r"layer '0' input.*per channel"):
        converted(nn.Sequential(nn.Linear(4, 2)), data(3, 4), config=PTQConfig(PerColumn()))


def test_convert_in_static_mode_is_refused() -> None:
    prepared = calibrated(nn.Sequential(nn.Linear(4, 2)), data(3, 4))
    paddle.enable_static()
    try:
        with pytest.raises(ModelError, match="static mode"):
            ImperativePTQ().convert(prepared)
        with pytest.raises(ModelError, match="static mode"):
            ImperativePTQ().save_quantized_model(prepared, "unused/model")
    finally:
        paddle.disable_static()


def test_a_failed_convert_leaves_the_calibrated_model_as_it_was() -> None:
    class Appending(LastMax):
        def cal_thresholds(self) -> None:
            self.thresholds = [*self.thresholds, self.abs_max_vals[0]]

    prepared = calibrated(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), data(3, 4), config=PTQConfig(Appending()))
    good = prepared[1].weight.clone()
    prepared[1].weight.set_value(paddle.full([4, 2], float("nan")))
    with pytest.raises(NonFiniteError):
        ImperativePTQ().convert(prepared)
    prepared[1].weight.set_value(good)
    assert quietly(lambda: ImperativePTQ().convert(prepared))(data(3, 4)).shape == [3, 2]


def test_integer_outputs_of_observed_layers_are_not_sampled() -> None:
    model = Net(lambda n, i: n.fc(n.table(n.shape(i, [-1]))), shape=nn.quant.reshape(), table=nn.Embedding(5, 4), fc=nn.Linear(4, 2))
    assert converted(model, paddle.to_tensor([[0, 1], [2, 3]]))(paddle.to_tensor([[4, 4]])).shape == [2, 2]
