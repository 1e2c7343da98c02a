"""Per-layer configuration: what overrides change in the quantized model, and what stays float."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from hypothesis import settings
from models import Net, calibrated, converted, data, quietly, small_net
from override_cases import bits, config, deep_net, quantized, twins
from paddle import nn

from ptq import ImperativePTQ, PTQConfig, PTQRegistry, QuantOverride
from ptq.layers.gridded import grids_of
from quantizers import (
    AbsmaxQuantizer,
    AutoQuantizer,
    BaseQuantizer,
    EMDQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    MSEQuantizer,
    PerChannelAbsmaxQuantizer,
    PerChannelHistQuantizer,
    PerChannelMSEQuantizer,
)
from quantizers.errors import ConfigError

few = settings(deadline=None, max_examples=60)


# what an override changes


def test_bits_in_the_quantized_model() -> None:
    float_model = small_net()
    overrides = {nn.Conv2D: QuantOverride(activation_bits=4, weight_bits=3), "conv2": QuantOverride(weight_bits=10)}
    model = quantized(overrides, model=float_model)
    expected = {"conv1": (4, 3), "conv2": (4, 10), "fc": (8, 8)}
    for name, (activation, weight) in expected.items():
        layer = getattr(model, name)
        integers = layer.weight_quantized.numpy()
        assert np.abs(integers).max() == 2 ** (weight - 1) - 1, name
        assert layer.input_qparams.num_bits == activation, name
    limit = np.abs(float_model.fc.weight.numpy()).max(axis=0) / 127
    assert np.allclose(model.fc.weight_scale.numpy().reshape(-1), limit)


def test_quantizers_of_one_layer() -> None:
    rule = MinMaxQuantizer(symmetric=True)
    model = calibrated(
        small_net(), data(4, 3, 6, 6), config=config({"fc": QuantOverride(activation_quantizer=rule, weight_quantizer=MSEQuantizer(6))})
    )
    assert isinstance(model.fc._quant_config.in_act_quantizer, MinMaxQuantizer)
    assert model.fc._quant_config.in_act_quantizer.symmetric is True
    assert isinstance(model.fc._quant_config.wt_quantizer, MSEQuantizer)
    assert model.fc._quant_config.wt_quantizer.quant_bits == 6
    assert model.fc._quant_config.in_act_quantizer.name == "layer 'fc' input"
    assert type(model.conv1._quant_config.in_act_quantizer) is AbsmaxQuantizer
    assert not rule.statistics


def test_a_quantizer_in_an_override_is_a_copy() -> None:
    rule = MSEQuantizer(6)
    override = QuantOverride(weight_quantizer=rule)
    rule.quant_bits = 3
    assert override.weight_quantizer is not None
    assert override.weight_quantizer.quant_bits == 6
    first, second = override.weight(PerChannelAbsmaxQuantizer()), override.weight(PerChannelAbsmaxQuantizer())
    assert first is not second


def test_granularity_in_the_quantized_model() -> None:
    float_model = small_net()
    weight = np.abs(float_model.fc.weight.numpy())
    model = quantized({"fc": QuantOverride(per_channel=False)}, model=float_model)
    assert model.fc.weight_scale.size == 1
    assert float(model.fc.weight_scale) == pytest.approx(weight.max() / 127)
    assert model.conv1.weight_scale.size == 8


@pytest.mark.parametrize(
    ("given", "per_channel", "expected"),
    [
        (PerChannelAbsmaxQuantizer(5), False, AbsmaxQuantizer(5)),
        (PerChannelHistQuantizer(5, 0.9), False, HistQuantizer(5, hist_percent=0.9)),
        (PerChannelMSEQuantizer(5), False, MSEQuantizer(5)),
        (AbsmaxQuantizer(5), True, PerChannelAbsmaxQuantizer(5)),
        (HistQuantizer(5, hist_percent=0.9), True, PerChannelHistQuantizer(5, 0.9)),
        (MSEQuantizer(5), True, PerChannelMSEQuantizer(5)),
        (PerChannelMSEQuantizer(5), True, PerChannelMSEQuantizer(5)),
        (KLQuantizer(5), False, KLQuantizer(5)),
    ],
    ids=repr,
)
def test_granularity_keeps_the_kind_of_rule(given: BaseQuantizer, per_channel: bool, expected: BaseQuantizer) -> None:
    found = QuantOverride(per_channel=per_channel).weight(given)
    assert type(found) is type(expected)
    assert found.settings() == expected.settings()


@pytest.mark.parametrize(("rule", "per_channel"), [(KLQuantizer(), True), (EMDQuantizer(), True), (BaseQuantizer(), False)], ids=repr)
def test_granularity_that_a_rule_does_not_have(rule: BaseQuantizer, per_channel: bool) -> None:
    model = small_net()
    overrides = {"fc": QuantOverride(weight_quantizer=rule, per_channel=per_channel)}
    with pytest.raises(ConfigError, match=f"layer 'fc': {type(rule).__name__} has no form.*pass weight_quantizer"):
        ImperativePTQ(config(overrides)).quantize(model, inplace=True)
    assert not any(hasattr(layer, "_quant_config") for layer in model.sublayers())


# what stays float


def test_left_float_is_what_skip_quant_leaves() -> None:
    x, plain = data(4, 3, 6, 6), small_net()
    skipping = copy.deepcopy(plain)
    skipping.conv2.skip_quant = True
    expected, found = quantized({}, model=skipping), quantized({"conv2": None}, model=plain)
    assert twins(found) == twins(expected) == {"conv1", "fc"}
    assert not hasattr(found.conv2, "_quant_config")
    assert np.array_equal(found(x).numpy(), expected(x).numpy())
    assert not np.array_equal(found(x).numpy(), quantized({}, model=plain)(x).numpy())


def test_a_container_is_left_float_with_all_below() -> None:
    model = calibrated(deep_net(), data(2, 3, 4, 4), config=config({"stage0": None, nn.ReLU: None}))
    assert {name for name, layer in model.named_sublayers() if hasattr(layer, "_quant_config")} == {"stage1.0", "head.0", "head.1"}
    assert not model.stage0[0]._forward_post_hooks
    assert not model.stage1[1]._forward_post_hooks


def test_skip_quant_cannot_be_taken_back() -> None:
    model = small_net()
    model.fc.skip_quant = True
    assert twins(quantized({"fc": QuantOverride()}, model=model)) == {"conv1", "conv2"}


def test_a_layer_left_float_needs_no_warning() -> None:
    class Own(nn.Linear):
        def forward(self, x: Any) -> Any:
            return F.linear(x, self.weight) + 1

    ImperativePTQ(config({Own: None})).quantize(nn.Sequential(nn.Linear(2, 2), Own(2, 2)))  # a warning fails a test here


# placement full

GRIDS = {"input#0", "relu#0", "conv2", "relu", "pool", "fc"}


@pytest.mark.parametrize(
    ("overrides", "layers", "grids"),
    [
        ({}, {"conv1", "conv2", "fc"}, GRIDS),
        ({"fc": None}, {"conv1", "conv2"}, GRIDS - {"fc"}),
        ({"fc:output": None}, {"conv1", "conv2", "fc"}, GRIDS - {"fc"}),
        ({"*:output": None}, {"conv1", "conv2", "fc"}, {"input#0", "relu#0"}),
        ({"conv2": None}, {"conv1", "fc"}, GRIDS - {"conv2"}),
        ({"conv1": None}, {"conv2", "fc"}, GRIDS - {"input#0"}),  # nothing else reads the input
        ({nn.Conv2D: None}, {"fc"}, GRIDS - {"input#0", "conv2", "relu#0"}),  # nor is their sum computed on integers
        ({"relu#0": None}, {"conv1", "conv2", "fc"}, GRIDS - {"relu#0"}),
        ({"re:^relu": None}, {"conv1", "conv2", "fc"}, GRIDS - {"relu#0", "relu"}),
        ({"*": None, "fc": QuantOverride()}, {"fc"}, {"fc"}),
    ],
)
def test_which_activations_get_a_grid(overrides: Any, layers: set[str], grids: set[str]) -> None:
    model = quantized(overrides, "full")
    assert twins(model) == layers
    assert set(grids_of(model)) == grids


def test_a_layer_that_reads_an_activation_without_a_grid_has_one_of_its_own() -> None:
    model = quantized({"relu#0": None}, "full")
    assert model.conv2.input_qparams is not None
    assert model.fc.input_qparams is None
    seen = []
    model.conv2.register_forward_pre_hook(lambda _layer, args: seen.append(args[0].numpy()))
    model(data(2, 3, 6, 6))
    assert len(np.unique(seen[0])) > 256  # the tensor itself is float


def test_widths_of_activations() -> None:
    found = bits(quantized({"conv?": QuantOverride(activation_bits=4), "relu#0": QuantOverride(activation_bits=6)}, "full"))
    assert found == {"input#0": 4, "relu#0": 6, "conv2": 4, "relu": 8, "pool": 8, "fc": 8}
    found = bits(quantized({"relu#0": QuantOverride(activation_bits=6), "conv?": QuantOverride(activation_bits=4)}, "full"))
    assert found["relu#0"] == 4  # the last entry that speaks of the tensor, by its name or by a layer that reads it
    found = bits(quantized({nn.Linear: QuantOverride(activation_bits=12)}, "full"))
    assert found == {"input#0": 8, "relu#0": 8, "conv2": 8, "relu": 8, "pool": 12, "fc": 12}
    found = bits(quantized({nn.Linear: QuantOverride(activation_bits=12), "*:output": QuantOverride(activation_bits=5)}, "full"))
    assert found == {"input#0": 8, "relu#0": 8, "conv2": 5, "relu": 5, "pool": 5, "fc": 5}


def test_rules_of_activations() -> None:
    model = calibrated(
        small_net(),
        data(4, 3, 6, 6),
        config=config({"relu#0": QuantOverride(activation_quantizer=MinMaxQuantizer(6))}, "full"),
        fuse=True,
    )
    rules = {site: grid._quant_config.in_act_quantizer for site, grid in grids_of(model).items()}
    assert {site for site, rule in rules.items() if isinstance(rule, MinMaxQuantizer)} == {"relu#0"}
    assert rules["relu#0"].name == "activation 'relu#0'"
    assert rules["relu#0"].quant_bits == 6


def test_calls_of_a_block_can_be_told_apart() -> None:
    def model() -> nn.Layer:
        return Net(lambda m, x: m.block(m.block(x)), block=Net(lambda m, x: F.relu(m.fc(x)) + x, fc=nn.Linear(6, 6)))

    def found(key: str) -> dict[str, int]:
        return bits(converted(model(), data(4, 6), config=config({key: QuantOverride(activation_bits=5)}, "full")))

    sites = ["input#0", "block.relu#0", "block.add#0", "block@1.relu#0", "block@1.add#0"]
    assert found("block.add#0") == {site: 5 if "add" in site else 8 for site in sites}
    assert found("block@1.add#0") == {site: 5 if site == "block@1.add#0" else 8 for site in sites}
    assert found("block@1.*") == {site: 5 if site.startswith("block@1") else 8 for site in sites}
    assert found("block") == dict.fromkeys(sites, 5)  # the input too: a layer within reads it


def test_grids_for_the_calls_of_a_layer_take_the_layers_settings() -> None:
    def model() -> nn.Layer:
        return Net(lambda m, x: m.fc(m.fc(x) * 50), fc=nn.Linear(6, 6))

    for key in ("fc", "f?", nn.Linear):
        assert bits(converted(model(), data(4, 6), config=config({key: QuantOverride(activation_bits=5)}))) == {
            "fc:input": 5,
            "fc@1:input": 5,
        }
    assert bits(converted(model(), data(4, 6), config=config({"fc@1:input": QuantOverride(activation_bits=5)}))) == {
        "fc:input": 8,
        "fc@1:input": 5,
    }
    merged = quietly(lambda: converted(model(), data(4, 6), config=config({"fc@1:input": None})))
    assert not bits(merged)
    assert merged.fc.input_qparams is not None


def test_the_result_of_a_layer_goes_by_all_names_of_the_layer() -> None:
    shared = nn.Linear(6, 6)
    model = Net(lambda m, x: m.c(m.a(x)), a=shared, b=nn.Sequential(shared), c=nn.Linear(6, 6))
    for key in ("a", "b", "b.0", "b.*"):
        assert set(bits(converted(model, data(4, 6), config=config({key: None}, "full")))) == {"c"}
    block = Net(lambda m, x: F.relu(m.fc(x)) + x, fc=nn.Linear(6, 6))
    model = Net(lambda m, x: m.c(m.x(x)), x=block, y=block, c=nn.Linear(6, 6))
    assert set(bits(converted(model, data(4, 6), config=config({"y": None}, "full")))) == {"c"}
    assert set(bits(converted(model, data(4, 6), config=config({}, "full")))) > {"input#0", "c"}


def test_a_model_that_is_one_layer() -> None:
    assert bits(converted(nn.Linear(6, 4), data(4, 6), config=config({"output": QuantOverride(activation_bits=5)}, "full"))) == {
        "input#0": 8,
        "output": 5,
    }
    assert bits(converted(nn.Linear(6, 4), data(4, 6), config=config({nn.Linear: QuantOverride(activation_bits=5)}, "full"))) == {
        "input#0": 5,
        "output": 5,
    }


# the engine


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_copies_and_pickles_of_a_model_under_calibration(placement: str) -> None:
    x = data(4, 3, 6, 6)
    overrides = {"conv?": QuantOverride(activation_bits=4), "fc": None}
    model = ImperativePTQ(config(overrides, placement)).quantize(small_net(), fuse=True)
    answers = []
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model):
        other(x)
        answers.append(ImperativePTQ().convert(other)(x).numpy())
    assert np.array_equal(answers[0], answers[2])
    assert np.array_equal(answers[1], answers[2])


def test_the_given_config_is_not_changed() -> None:
    given = config({"fc": QuantOverride(weight_bits=4), nn.Conv2D: None}, "full")
    before = copy.deepcopy(given)
    converted(small_net(), data(2, 3, 6, 6), config=given)
    assert given == before


def test_changing_the_dict_later_changes_nothing() -> None:
    overrides: dict[Any, Any] = {"fc": None}
    given = config(overrides)
    overrides["conv1"] = None
    assert list(given.overrides) == ["fc"]


def test_a_layers_own_config_tells_what_was_applied() -> None:
    model = calibrated(small_net(), data(2, 3, 6, 6), config=config({"fc": QuantOverride(weight_bits=4)}))
    assert model.fc._quant_config.changes == (QuantOverride(weight_bits=4),)
    assert model.conv1._quant_config.changes == ()
    assert model.fc._quant_config.scheme.weight.num_bits == 4


def test_auto_for_one_layer() -> None:
    model = quantized({"fc": QuantOverride(activation_quantizer=AutoQuantizer())})
    assert model.fc._quant_config.in_act_quantizer.chosen is not None


def test_registered_subclasses_of_the_user() -> None:
    class Shifted(nn.Linear):
        def forward(self, x: Any) -> Any:
            return F.linear(x, self.weight, self.bias) + 1

    PTQRegistry.register(Shifted)
    try:
        model = converted(nn.Sequential(Shifted(3, 3), nn.Linear(3, 3)), data(4, 3), config=config({Shifted: QuantOverride(weight_bits=4)}))
        assert np.abs(model[0].weight_quantized.numpy()).max() == 7
        assert np.abs(model[1].weight_quantized.numpy()).max() == 127
    finally:
        PTQRegistry.unregister(Shifted)


# malformed overrides


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (["fc"], "overrides must be a dict"),
        ("fc", "overrides must be a dict"),
        ({3: None}, "a key must be a name"),
        ({int: None}, "a key must be .* subclass of paddle.nn.Layer"),
        ({"fc": 4}, r"overrides\['fc'\] must be a QuantOverride"),
        ({"fc": AbsmaxQuantizer()}, "must be a QuantOverride"),
        ({"fc": False}, "must be a QuantOverride, or None"),
        ({nn.Linear: QuantOverride}, r"overrides\[Linear\] must be"),
        ({"re:(": None}, r"'re:\(' is not a regular expression"),
    ],
    ids=str,
)
def test_malformed_overrides(bad: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PTQConfig(overrides=bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"weight_bits": 1}, "weight_bits: quant_bits must be in 2..16"),
        ({"activation_bits": 17}, "activation_bits: "),
        ({"activation_bits": 8.0}, "activation_bits: quant_bits must be an int"),
        ({"weight_bits": True}, "weight_bits"),
        ({"weight_bits": "8"}, "weight_bits"),
        ({"activation_quantizer": AbsmaxQuantizer}, "pass an instance"),
        ({"activation_quantizer": PerChannelAbsmaxQuantizer()}, "is for weights"),
        ({"weight_quantizer": 8}, "weight_quantizer must be"),
        ({"per_channel": 1}, "per_channel must be True, False or None"),
    ],
    ids=str,
)
def test_malformed_override(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QuantOverride(**bad)


def test_equality_of_overrides() -> None:
    assert QuantOverride(weight_quantizer=MSEQuantizer(5)) == QuantOverride(weight_quantizer=MSEQuantizer(5))
    assert QuantOverride(weight_quantizer=MSEQuantizer(5)) != QuantOverride(weight_quantizer=MSEQuantizer(6))
    assert QuantOverride(weight_quantizer=MSEQuantizer(5)) != QuantOverride(weight_quantizer=EMDQuantizer(5))
    assert QuantOverride() != QuantOverride(per_channel=False)
    assert QuantOverride() != None  # noqa: E711 - what stays float is another thing than nothing changed
    assert len({QuantOverride(4), QuantOverride(4), QuantOverride(5)}) == 2


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_rules_given_to_convert_keep_the_overrides(placement: str) -> None:
    overrides = {"fc": QuantOverride(activation_bits=6, weight_bits=4), "conv2": QuantOverride(weight_quantizer=MSEQuantizer(5))}
    model = calibrated(small_net(), data(4, 3, 6, 6), config=config(overrides, placement), fuse=True)
    ImperativePTQ().convert(model, activation_quantizer=KLQuantizer(), weight_quantizer=PerChannelMSEQuantizer())
    assert isinstance(model.fc._quant_config.wt_quantizer, PerChannelMSEQuantizer)
    assert np.abs(model.fc.weight_quantized.numpy()).max() == 7
    assert isinstance(model.fc._quant_config.in_act_quantizer, KLQuantizer)
    assert model.fc._quant_config.in_act_quantizer.quant_bits == 6
    assert isinstance(model.conv2._quant_config.wt_quantizer, MSEQuantizer)
    assert np.abs(model.conv2.weight_quantized.numpy()).max() == 15
    assert np.abs(model.conv1.weight_quantized.numpy()).max() == 127


@pytest.mark.parametrize("key", ["relu#0", "fc", "conv2"])
@pytest.mark.parametrize(("rule", "other"), [(AutoQuantizer(), KLQuantizer()), (KLQuantizer(), AutoQuantizer())], ids=repr)
def test_a_choice_of_ranges_for_some_activations(key: str, rule: BaseQuantizer, other: BaseQuantizer) -> None:
    overrides = {key: QuantOverride(activation_quantizer=other)}
    model = converted(small_net(), data(4, 3, 6, 6), config=PTQConfig(rule, placement="full", overrides=overrides), fuse=True)
    for site, grid in grids_of(model).items():
        chooser = grid._quant_config.in_act_quantizer
        assert not isinstance(chooser, AutoQuantizer) or chooser.chosen is not None, site
