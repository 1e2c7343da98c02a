"""The config of a call: placement and widths that its arguments ask for."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from paddle import nn

from quantizers import BaseQuantizer, PerChannelAbsmaxQuantizer, PerChannelMSEQuantizer
from quantizers.errors import ConfigError, TraceError

from ..calibration.seen import free_batch
from ..config.config import PLACEMENTS, PTQConfig, check_target, default_ptq_config
from ..config.overrides import QuantOverride
from ..graph.tracing import trace
from ..placement.ends import end_layers
from ..registry import PTQRegistry
from ..util.messages import warn
from ..util.nests import map_tensors

__all__ = ["config_with", "with_float_layers", "with_placement", "with_wide_ends"]

FULL = 8


def config_with(
    config: PTQConfig | None, placement: str | None, target: str | None, weight_bits: int | None, activation_bits: int | None
) -> PTQConfig:
    """A copy of the config, or of the default one, with these settings where they are given.

    Below 8 bits a weight's largest magnitude is no good end of its grid, so the default rule for weights becomes the one of least error.

    Raises:
        ConfigError: a setting is out of range.
    """
    found = default_ptq_config if config is None else config
    if not isinstance(found, PTQConfig):
        raise ConfigError(f"config must be a PTQConfig, got {config!r}")
    if placement is not None and placement not in PLACEMENTS:
        raise ConfigError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
    found = copy.deepcopy(found)
    found.placement = found.placement if placement is None else placement
    found.target = found.target if target is None else target
    check_target(found.target, found.placement)
    if weight_bits is not None:
        found.wt_quantizer = _with_bits("weight_bits", found.wt_quantizer, weight_bits, (2, 8))
        if config is None and weight_bits < FULL and isinstance(found.wt_quantizer, PerChannelAbsmaxQuantizer):
            found.wt_quantizer = PerChannelMSEQuantizer(weight_bits)
    if activation_bits is not None:
        for name in ("in_act_quantizer", "out_act_quantizer"):
            setattr(found, name, _with_bits("activation_bits", getattr(found, name), activation_bits, (4, 16)))
    return found


def _with_bits(what: str, quantizer: BaseQuantizer, bits: int, limits: tuple[int, int]) -> BaseQuantizer:
    if type(bits) is not int or not limits[0] <= bits <= limits[1]:
        raise ConfigError(f"{what} must be a whole number from {limits[0]} to {limits[1]}, got {bits!r}")
    quantizer.quant_bits = bits
    return quantizer


def with_wide_ends(config: PTQConfig, model: nn.Layer, example: Any) -> PTQConfig:
    """The config with 8 bits for the layers at the model's ends, where it has fewer; what its overrides say of them still counts.

    Args:
        config: left as it is.
        model: the float model.
        example: arguments of it, see `Inputs.example`.
    """
    wide = QuantOverride(
        activation_bits=FULL if config.in_act_quantizer.quant_bits < FULL else None,
        weight_bits=FULL if config.wt_quantizer.quant_bits < FULL else None,
    )
    if wide == QuantOverride():
        return config
    layers = [
        name
        for name, layer in model.named_sublayers(include_self=True)
        if PTQRegistry.is_simulated_quant_layer(layer) or PTQRegistry.is_weight_only_layer(layer)
    ]
    args, kwargs = map_tensors(free_batch, ([], example) if isinstance(example, dict) else (example, {}))
    try:
        ends = end_layers(trace(model, args, kwargs), layers)
    except TraceError as error:
        warn(f"{error}. So the layers at the model's ends are not known, and get as few bits as all others")
        return config
    own = {key: _filled(value, wide) if key in ends and value is not None else value for key, value in config.overrides.items()}
    return _with_overrides(config, {**{name: wide for name in ends if name not in own}, **own})


def _filled(override: QuantOverride, wide: QuantOverride) -> QuantOverride:
    """An override of the user's for a layer at the ends, with the widths of ``wide`` for what it does not speak of."""
    is_silent = override.weight_bits is None and override.weight_quantizer is None
    weight_bits = wide.weight_bits if is_silent else override.weight_bits
    is_silent = override.activation_bits is None and override.activation_quantizer is None
    return replace(override, weight_bits=weight_bits, activation_bits=wide.activation_bits if is_silent else override.activation_bits)


def with_placement(config: PTQConfig, placement: str) -> PTQConfig:
    """The config with another placement."""
    found = copy.deepcopy(config)
    found.placement = placement
    return found


def with_float_layers(config: PTQConfig, names: tuple[str, ...]) -> PTQConfig:
    """The config with these layers left float."""
    return _with_overrides(config, {**config.overrides, **dict.fromkeys(names)})


def _with_overrides(config: PTQConfig, overrides: Any) -> PTQConfig:
    found = copy.deepcopy(config)
    found.overrides = overrides
    return found
