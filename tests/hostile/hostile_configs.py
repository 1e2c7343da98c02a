"""Settings out of their range or of the wrong kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostile_case import Act, Case, Scene, net
from models import data
from paddle import nn

from ptq import Calibration, ImperativePTQ, PTQConfig, PTQRegistry, QuantOverride
from quantizers import (
    AbsmaxQuantizer,
    AutoQuantizer,
    HistQuantizer,
    KLQuantizer,
    MovingAverageAbsmaxQuantizer,
    PerChannelAbsmaxQuantizer,
    PerChannelMSEQuantizer,
    quantizer_from_settings,
    register_quantizer,
)
from quantizers.errors import ConfigError

__all__ = ["CASES"]


def refused(name: str, says: str, make: Callable[[], Any]) -> Case:
    """Settings that are refused where they are given."""
    return Case("config", name, ConfigError, says, lambda _: make)


def unmatched(name: str, says: str, key: Any, **options: Any) -> Case:
    """An override that finds nothing in the model."""
    config = PTQConfig(overrides={key: None}, **options)
    return Case("config", name, ConfigError, says, lambda scene: scene.quantize(net(), config))


def at_the_first_batch(name: str, says: str, config: PTQConfig) -> Case:
    def prepare(scene: Scene) -> Act:
        prepared = scene.prepared(net(), config)
        return lambda: prepared(data(2, 4))

    return Case("config", name, ConfigError, says, prepare)


def converting(name: str, says: str, **rules: Any) -> Case:
    """Other rules for `convert` that do not fit."""

    def prepare(scene: Scene) -> Act:
        model = scene.seen()
        return lambda: ImperativePTQ().convert(model, **rules)

    return Case("config", name, ConfigError, says, prepare)


def other_bins(scene: Scene) -> Act:
    """Merging calibrations of different settings."""
    models = [scene.seen(config=PTQConfig(KLQuantizer(bins=bins))) for bins in (16, 32)]
    return lambda: Calibration.merge(map(Calibration.of, models))


CASES = [
    *(
        refused(f"bits {bits!r}", f"quant_bits.*{bits!r}", lambda b=bits: AbsmaxQuantizer(b))
        for bits in (1, 17, 0, -8, True, "8", 8.0, None)
    ),
    refused("bits of an override", "weight_bits.* 1$", lambda: QuantOverride(weight_bits=1)),
    refused("per_channel=1", "per_channel.* 1$", lambda: QuantOverride(per_channel=1)),  # type: ignore[arg-type]
    refused("a quantizer's class", "KLQuantizer.*instance", lambda: PTQConfig(KLQuantizer)),  # type: ignore[arg-type]
    refused("a quantizer's name", "'KL'", lambda: PTQConfig("KL")),  # type: ignore[arg-type]
    refused("a channel rule for activations", "PerChannelAbsmaxQuantizer is for weights", lambda: PTQConfig(PerChannelAbsmaxQuantizer())),
    refused("an unknown placement", "'everywhere'", lambda: PTQConfig(placement="everywhere")),
    refused("placement None", "placement.*None", lambda: PTQConfig(placement=None)),  # type: ignore[arg-type]
    refused("a dict in place of a config", "PTQConfig.*'bits': 8", lambda: ImperativePTQ({"bits": 8})),  # type: ignore[arg-type]
    refused("a config's class", "PTQConfig", lambda: ImperativePTQ(PTQConfig)),  # type: ignore[arg-type]
    refused("overrides as a list", "overrides must be a dict", lambda: PTQConfig(overrides=[("fc", None)])),  # type: ignore[arg-type]
    refused("an override that is a number", r"overrides\['fc'\].* 4", lambda: PTQConfig(overrides={"fc": 4})),  # type: ignore[dict-item]
    refused("an override of an int class", "overrides.*int", lambda: PTQConfig(overrides={int: None})),  # type: ignore[dict-item]
    refused("a broken regular expression", r"'re:\('", lambda: PTQConfig(overrides={"re:(": None})),
    unmatched("a name that matches nothing", "'head' matches no layer.*'0'", "head"),
    unmatched("a glob that matches nothing", r"'head\.\*' matches no layer", "head.*"),
    unmatched("an expression that matches nothing", r"'re:conv\[12\]' matches", "re:conv[12]"),
    unmatched("a class that matches nothing", "Conv2D matches no layer", nn.Conv2D),
    at_the_first_batch(
        "an activation that is not there", "'add#9'", PTQConfig(AbsmaxQuantizer(), placement="full", overrides={"add#9": None})
    ),
    Case(
        "config",
        "a rule without a form per tensor",
        ConfigError,
        "layer '0'.*per_channel",
        lambda scene: scene.quantize(net(), PTQConfig(None, KLQuantizer(), overrides={"0": QuantOverride(per_channel=True)})),
    ),
    refused("hist_percent=0", "hist_percent.* 0$", lambda: HistQuantizer(hist_percent=0)),
    refused("hist_percent=NaN", "hist_percent.*nan", lambda: HistQuantizer(hist_percent=float("nan"))),
    refused("moving_rate=1.5", "moving_rate.*1.5", lambda: MovingAverageAbsmaxQuantizer(moving_rate=1.5)),
    refused("bins=0", "bins.* 0$", lambda: KLQuantizer(bins=0)),
    refused("bins=2.5", "bins.*2.5", lambda: KLQuantizer(bins=2.5)),  # type: ignore[arg-type]
    refused("bins for terabytes", "bins.*1000000000000", lambda: KLQuantizer(bins=10**12)),
    refused("max_samples_per_item='all'", "max_samples_per_item.*'all'", lambda: KLQuantizer(max_samples_per_item="all")),  # type: ignore[arg-type]
    refused("a text as channel axis", "quant_axis.*'x'", lambda: PerChannelMSEQuantizer(quant_axis="x")),  # type: ignore[arg-type]
    refused("no candidates", r"candidates.*\[\]", lambda: AutoQuantizer(candidates=[])),
    refused("candidates that are a number", "candidates.* 3", lambda: AutoQuantizer(candidates=3)),  # type: ignore[arg-type]
    refused("candidates that are classes", "candidates.*KLQuantizer", lambda: AutoQuantizer(candidates=[KLQuantizer])),  # type: ignore[list-item]
    refused("settings of an unknown type", "'OsSystem'", lambda: quantizer_from_settings({"type": "OsSystem"})),
    refused("settings with an unknown key", "'?colour", lambda: quantizer_from_settings({"type": "KLQuantizer", "colour": 1})),
    refused("registering what is no quantizer", "BaseQuantizer.*int", lambda: register_quantizer(int)),  # type: ignore[type-var]
    refused("registering what is no layer", "<class 'int'>", lambda: PTQRegistry.register(int)),  # type: ignore[arg-type]
    converting("a class as rule for convert", "KLQuantizer", activation_quantizer=KLQuantizer),
    converting("a channel rule for convert", "PerChannelMSEQuantizer", activation_quantizer=PerChannelMSEQuantizer()),
    converting("a moving average that was not kept", "layer '0' input", activation_quantizer=MovingAverageAbsmaxQuantizer()),
    refused("merging nothing", r"merge.*\[\]", lambda: Calibration.merge([])),
    refused("merging a number", "merge.* 5", lambda: Calibration.merge(5)),  # type: ignore[arg-type]
    Case("config", "merging other settings", ConfigError, "layer '0' input", other_bins),
    refused("a diff with a number", "diff.* 3", lambda: Calibration({}).diff(3)),  # type: ignore[arg-type]
]
