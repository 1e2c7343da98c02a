"""Every rule on a net built to have its fault, and on one that has not; every action is code that runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from models import data
from paddle import nn
from report_nets import ABSMAX, ONE_RANGE, Sound, batches, quantized, report_of, set_weight

import ptq
from ptq import PTQConfig, QuantOverride
from ptq.reports.accuracy import Kernels
from ptq.reports.advice import RULES, Evidence, advise
from quantizers import AbsmaxQuantizer, HistQuantizer, MSEQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import QuantizationError


@cache
def sound() -> ptq.Report:
    return report_of(Sound(), calibration=batches(8, 32))


@cache
def worst_layer() -> ptq.Report:
    config = copy.deepcopy(ABSMAX)
    config.overrides = {"block.2": QuantOverride(weight_bits=2)}
    return report_of(Sound(), config)


def weight_bits() -> ptq.Report:
    return report_of(
        Sound(), PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(), overrides={"block.2": QuantOverride(weight_bits=3)})
    )


def weight_channels() -> ptq.Report:
    net = Sound()
    set_weight(net.block[2], lambda w: w * np.array([100, 1, 1, 1, 1, 1, 1, 1]).reshape(8, 1, 1, 1))
    return report_of(net, PTQConfig(AbsmaxQuantizer(symmetric=False), AbsmaxQuantizer(), per_channel_activations=False))


def weight_outliers() -> ptq.Report:
    net = nn.Sequential(nn.Conv2D(3, 8, 1), nn.ReLU(), nn.Conv2D(8, 8, 1))
    # one weight of each output channel is 1,000 times the others, and what it multiplies is always zero
    set_weight(net[0], lambda w: w * np.array([0, 1, 1, 1, 1, 1, 1, 1]).reshape(8, 1, 1, 1))
    set_weight(net[2], lambda w: w * np.array([1000, 1, 1, 1, 1, 1, 1, 1]).reshape(1, 8, 1, 1))
    return report_of(net, ONE_RANGE)


def range_outliers() -> ptq.Report:
    net = nn.Sequential(nn.Conv2D(3, 8, 1), nn.ReLU(), nn.Conv2D(8, 8, 1))

    def with_outlier(tensors: list[Any]) -> list[Any]:
        for x in tensors:
            x[0, :, 0, 0] = 150.0
        return tensors

    return report_of(net, calibration=with_outlier(batches(8, 32)), on=with_outlier(batches(2, seed=50)))


def channels_uneven() -> ptq.Report:
    net = nn.Sequential(nn.Conv2D(3, 8, 1), nn.ReLU(), nn.Conv2D(8, 8, 1), nn.ReLU(), nn.Conv2D(8, 8, 1), nn.ReLU(), nn.Conv2D(8, 8, 1))
    set_weight(net[2], lambda w: w * np.array([200, 1, 1, 1, 1, 1, 1, 1]).reshape(8, 1, 1, 1))
    set_weight(net[4], lambda w: w * np.array([0.001, 1, 1, 1, 1, 1, 1, 1]).reshape(1, 8, 1, 1))
    return report_of(
        net, PTQConfig(AbsmaxQuantizer(5), PerChannelAbsmaxQuantizer(), per_channel_activations=False), calibration=batches(8, 32)
    )


def clipped_by_rule() -> ptq.Report:
    return report_of(Sound(), PTQConfig(HistQuantizer(hist_percent=0.98), PerChannelAbsmaxQuantizer()))


def calibration_narrow() -> ptq.Report:
    return report_of(Sound(), calibration=batches(8, 32, scale=0.3))


def unused_negatives() -> ptq.Report:
    net = nn.Sequential(nn.Conv2D(3, 8, 1), nn.Hardswish(), nn.Conv2D(8, 8, 1))
    set_weight(net[0], lambda w: w * 6)
    config = PTQConfig(AbsmaxQuantizer(symmetric=True), PerChannelAbsmaxQuantizer(), per_channel_activations=False)
    return report_of(net, config, calibration=batches(8, 32))


def many_layers() -> ptq.Report:
    layers: list[nn.Layer] = [nn.Conv2D(3, 16, 1)]
    for _ in range(10):
        layers += [nn.ReLU(), nn.Conv2D(16, 16, 1)]
    net = nn.Sequential(*layers)
    random = np.random.default_rng(0)
    for layer in layers[::2]:
        set_weight(layer, lambda w: random.standard_normal(w.shape) * np.sqrt(2 / w.shape[1]))
    return report_of(net, PTQConfig(AbsmaxQuantizer(6), PerChannelAbsmaxQuantizer(), per_channel_activations=False))


def few_samples() -> ptq.Report:
    return report_of(Sound(), calibration=batches(1, 8))


def float_by_placement() -> ptq.Report:
    return report_of(Sound(), placement="compute")


NETS: dict[str, tuple[Callable[[], ptq.Report], str]] = {
    "worst-layer": (worst_layer, "block.2"),
    "weight-bits": (weight_bits, "block.2"),
    "weight-channels": (weight_channels, "block.2"),
    "weight-outliers": (weight_outliers, "2"),
    "range-outliers": (range_outliers, "0"),
    "channels-uneven": (channels_uneven, "4"),
    "clipped-by-rule": (clipped_by_rule, "stem"),
    "calibration-narrow": (calibration_narrow, "stem"),
    "unused-negatives": (unused_negatives, "2"),
    "many-layers": (many_layers, ""),
    "few-samples": (few_samples, ""),
    "float-by-placement": (float_by_placement, "add#0"),
}
# Their evidence comes from a runtime; tested below.
TIMED = ("no-int8-kernel", "slower-than-float")


def test_every_rule_is_tested() -> None:
    assert {rule.name for rule in RULES} == {*NETS, *TIMED}


@pytest.mark.parametrize("rule", NETS)
def test_a_rule_finds_its_fault_and_its_action_is_code(rule: str) -> None:
    build, layer = NETS[rule]
    found = [finding for finding in build().findings if finding.rule == rule]
    assert found, "the fault was not found"
    assert not layer or layer in [name for finding in found for name in finding.layers]
    for finding in found:
        assert all(text.en and text.zh for text in (finding.evidence, finding.reason, finding.action))
        names = {name: getattr(ptq, name, None) for name in ("PTQConfig", "QuantOverride")}
        names |= {kind.__name__: kind for kind in (AbsmaxQuantizer, MSEQuantizer, PerChannelAbsmaxQuantizer)}
        if finding.code.startswith("PTQConfig"):
            assert isinstance(eval(finding.code, {}, names), PTQConfig)


@pytest.mark.parametrize("rule", [rule.name for rule in RULES if rule.name != "float-by-placement"])
def test_a_sound_net_has_no_fault(rule: str) -> None:
    assert rule not in [finding.rule for finding in sound().findings]


def test_a_net_placed_for_speed_is_not_told_to_be() -> None:
    found = report_of(Sound(), placement="full", calibration=batches(8, 32)).findings
    assert "float-by-placement" not in [finding.rule for finding in found]


def test_a_planted_bad_layer_comes_first_and_the_advice_helps() -> None:
    report = worst_layer()
    assert report.layers[0].name == "block.2"
    assert report.findings[0].layers == ("block.2",)
    assert [finding.rule for finding in report.findings[:2]] == ["weight-bits", "worst-layer"]
    advised = report_of(Sound(), eval(report.findings[0].code, {}, {"PTQConfig": PTQConfig, "QuantOverride": QuantOverride}))
    assert advised.layers[0].alone_db > report.layers[0].alone_db + 15


def with_kernels(int8: bool, float_us: float, int8_us: float) -> Evidence:
    layers = list(sound().layers)
    layers[0] = replace(layers[0], kernels=Kernels("ONNX Runtime", "Conv", "QLinearConv" if int8 else "Conv", int8, float_us, int8_us))
    layers[1] = replace(layers[1], kernels=Kernels("ONNX Runtime", "Conv", "QLinearConv", True, 100.0, 40.0))
    return Evidence(layers, sound().outputs, "full", 256)


def test_rules_on_kernels() -> None:
    name = sound().layers[0].name
    slow = {finding.rule: finding for finding in advise(with_kernels(True, 50.0, 80.0))}
    assert slow["slower-than-float"].layers == (name,)
    assert "no-int8-kernel" not in slow
    missing = {finding.rule: finding for finding in advise(with_kernels(False, 50.0, 51.0))}
    assert missing["no-int8-kernel"].layers == (name,)
    assert "slower-than-float" not in missing
    fast = [finding.rule for finding in advise(with_kernels(True, 50.0, 20.0))]
    assert not set(TIMED) & set(fast)


def test_advice_is_sorted_by_what_it_weighs() -> None:
    weights = [finding.weight for finding in worst_layer().findings]
    assert weights == sorted(weights, reverse=True)


def test_a_model_that_is_not_converted_is_refused() -> None:
    with pytest.raises(QuantizationError, match="converted"):
        ptq.report(Sound(), batches(1), path=None)
    with pytest.raises(QuantizationError, match="batches"):
        ptq.report(quantized(Sound()), data(1, 3, 8, 8), path=None)
