"""Configs: checked when made, copied to every layer, never changed by use."""

from __future__ import annotations

import copy

import paddle
import pytest
from models import Net, calibrated, data, quietly, small_net
from paddle import nn

import ptq
from ptq import ImperativePTQ, PTQConfig, default_ptq_config
from quantizers import AbsmaxQuantizer, BaseQuantizer, HistQuantizer, KLQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ConfigError


def _picture(config: PTQConfig) -> dict[str, object]:
    picture: dict[str, object] = dict(vars(config))
    for name in ("in_act_quantizer", "out_act_quantizer", "wt_quantizer"):
        picture[name] = copy.deepcopy({key: value for key, value in vars(getattr(config, name)).items() if key != "summary_settings"})
    return picture


def test_defaults() -> None:
    config = PTQConfig()
    assert isinstance(config.in_act_quantizer, KLQuantizer)
    assert isinstance(config.out_act_quantizer, KLQuantizer)
    assert isinstance(config.wt_quantizer, PerChannelAbsmaxQuantizer)
    assert config.placement == "compute"
    assert config.quant_hook_handle is None
    assert config.enable_in_act_quantizer is False


def test_positional_arguments_as_in_paddle() -> None:
    config = PTQConfig(HistQuantizer(quant_bits=4), AbsmaxQuantizer(6))
    assert isinstance(config.in_act_quantizer, HistQuantizer)
    assert config.out_act_quantizer.quant_bits == 4
    assert config.wt_quantizer.quant_bits == 6


@pytest.mark.parametrize("bad", [AbsmaxQuantizer, "absmax", 8, object()])
def test_quantizers_must_be_instances(bad: object) -> None:
    with pytest.raises(ConfigError, match="activation_quantizer must be a BaseQuantizer instance"):
        PTQConfig(bad, PerChannelAbsmaxQuantizer())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weight_quantizer"):
        PTQConfig(AbsmaxQuantizer(), bad)  # type: ignore[arg-type]


def test_unknown_placement() -> None:
    with pytest.raises(ConfigError, match="placement must be one of compute"):
        PTQConfig(placement="everywhere")


@pytest.mark.parametrize("bad", [None, AbsmaxQuantizer(), {}])
def test_engine_needs_a_config(bad: object) -> None:
    with pytest.raises(ConfigError, match="PTQConfig"):
        ImperativePTQ(bad)  # type: ignore[arg-type]


def test_default_config_is_not_changed_by_use() -> None:
    before = _picture(default_ptq_config)
    engine = ImperativePTQ()
    model = engine.quantize(small_net())
    model(data(2, 3, 8, 8))
    engine.convert(model)
    assert _picture(default_ptq_config) == before


def test_a_users_config_is_not_changed_by_use() -> None:
    activation, weight = AbsmaxQuantizer(), PerChannelAbsmaxQuantizer()
    config = PTQConfig(activation, weight)
    before = _picture(config)
    calibrated(small_net(), data(2, 3, 8, 8), config=config)
    assert _picture(config) == before
    assert activation.abs_max_vals == weight.abs_max_vals == []
    assert not activation.sampled
    assert activation.name == ""


def test_changing_the_given_quantizer_later_changes_nothing() -> None:
    activation = AbsmaxQuantizer()
    config = PTQConfig(activation)
    activation.quant_bits = 4
    assert config.in_act_quantizer.quant_bits == 8


def test_every_layer_has_quantizers_of_its_own() -> None:
    model = calibrated(small_net(), data(2, 3, 8, 8))
    configs = [layer._quant_config for layer in model.sublayers() if hasattr(layer, "_quant_config")]
    assert len(configs) == 7
    quantizers = [getattr(config, name) for config in configs for name in ("in_act_quantizer", "out_act_quantizer", "wt_quantizer")]
    assert len({id(quantizer) for quantizer in quantizers}) == len(quantizers)


def test_attributes_that_scripts_for_paddle_read() -> None:
    model = calibrated(small_net(), data(2, 3, 8, 8))
    config = model.conv1._quant_config
    assert isinstance(config, PTQConfig)
    for name in ("in_act_quantizer", "out_act_quantizer", "wt_quantizer"):
        assert isinstance(getattr(config, name), BaseQuantizer)
    assert config.enable_in_act_quantizer is True
    assert config.quant_hook_handle is not None
    assert model.relu._quant_config.enable_in_act_quantizer is False
    config.quant_hook_handle.remove()
    assert not model.conv1._forward_post_hooks


def test_after_conversion_the_twin_keeps_its_config() -> None:
    x = data(2, 3, 8, 8)
    model = calibrated(small_net(), x)
    quantized = ImperativePTQ().convert(model)
    config = quantized.conv1._quant_config
    assert config.quant_hook_handle is None
    assert config.in_act_quantizer.thresholds == [pytest.approx(float(x.abs().max()))]
    assert len(config.wt_quantizer.thresholds[0]) == 8
    assert quantized.pool._quant_config.out_act_quantizer.thresholds


def test_quantizers_are_named_after_their_layer() -> None:
    model = Net(lambda net, x: net.blocks(x), blocks=nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    config = ImperativePTQ().quantize(model).blocks[0]._quant_config
    assert config.in_act_quantizer.name == "layer 'blocks.0' input"
    assert config.wt_quantizer.name == "layer 'blocks.0' weight"


def test_two_models_with_one_engine() -> None:
    engine = ImperativePTQ(PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer()))
    small, large = engine.quantize(nn.Linear(3, 2)), engine.quantize(nn.Linear(3, 2))
    small(paddle.ones([1, 3]))
    large(paddle.full([1, 3], 100.0))
    assert engine.convert(small)._quant_config.in_act_quantizer.thresholds == [1.0]
    assert engine.convert(large)._quant_config.in_act_quantizer.thresholds == [100.0]


def test_public_names() -> None:
    assert set(ptq.__all__) >= {"FloatFunctional", "ImperativePTQ", "LayerInfo", "PTQConfig", "PTQRegistry", "default_ptq_config", "load"}
    assert all(hasattr(ptq, name) for name in ptq.__all__)


def test_nothing_to_quantize_is_said() -> None:
    model = quietly(lambda: ImperativePTQ().quantize(nn.ReLU()))
    assert model(data(2, 2)).shape == [2, 2]
