"""Quantizers by name, so that a configuration can be written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantizers.errors import ConfigError
from quantizers.rules.absmax import AbsmaxQuantizer
from quantizers.rules.auto import AutoQuantizer
from quantizers.rules.average import AvgAbsmaxQuantizer
from quantizers.rules.base import BaseQuantizer
from quantizers.rules.emd import EMDQuantizer
from quantizers.rules.hist import HistQuantizer
from quantizers.rules.kl import KLQuantizer
from quantizers.rules.minmax import MinMaxQuantizer
from quantizers.rules.moving_average import MovingAverageAbsmaxQuantizer
from quantizers.rules.mse import MSEQuantizer
from quantizers.rules.per_channel_absmax import PerChannelAbsmaxQuantizer
from quantizers.rules.per_channel_hist import PerChannelHistQuantizer
from quantizers.rules.per_channel_mse import PerChannelMSEQuantizer

__all__ = ["SUPPORT_ACT_QUANTIZERS", "SUPPORT_WT_QUANTIZERS", "quantizer_from_settings", "register_quantizer"]

SUPPORT_ACT_QUANTIZERS: list[type[BaseQuantizer]] = [
    AbsmaxQuantizer,
    MinMaxQuantizer,
    AvgAbsmaxQuantizer,
    MovingAverageAbsmaxQuantizer,
    HistQuantizer,
    KLQuantizer,
    MSEQuantizer,
    EMDQuantizer,
    AutoQuantizer,
]
"""Quantizers of activations: one range per tensor."""

SUPPORT_WT_QUANTIZERS: list[type[BaseQuantizer]] = [
    AbsmaxQuantizer,
    PerChannelAbsmaxQuantizer,
    PerChannelHistQuantizer,
    PerChannelMSEQuantizer,
]
"""Quantizers of weights: one range per channel, but for `AbsmaxQuantizer`."""

_BY_NAME: dict[str, type[BaseQuantizer]] = {kind.__name__: kind for kind in (*SUPPORT_ACT_QUANTIZERS, *SUPPORT_WT_QUANTIZERS)}


def register_quantizer(kind: type[BaseQuantizer]) -> type[BaseQuantizer]:
    """Make a quantizer of your own known by its class name; usable as a decorator.

    Its constructor must take what its ``settings()`` returns.  Raises ``ConfigError`` when it is no `BaseQuantizer` or the name is
    taken.
    """
    if not (isinstance(kind, type) and issubclass(kind, BaseQuantizer)):
        raise ConfigError(f"only subclasses of BaseQuantizer can be registered, got {kind!r}")
    if _BY_NAME.setdefault(kind.__name__, kind) is not kind:
        raise ConfigError(f"a quantizer named {kind.__name__} is registered already; choose another name")
    return kind


def quantizer_from_settings(settings: Mapping[str, Any]) -> BaseQuantizer:
    """The quantizer that ``settings()`` described: ``{"type": "KLQuantizer", "quant_bits": 8, ...}``; what is left out is the default.

    Raises ``ConfigError`` for an unknown type, an unknown key or a value out of range.
    """
    arguments = dict(settings)
    name = arguments.pop("type", None)
    kind = _BY_NAME.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ConfigError(f"unknown quantizer type {name!r}; known: {', '.join(sorted(_BY_NAME))}")
    unknown = set(arguments) - set(kind._setting_names)
    if unknown:
        raise ConfigError(f"{name} has no setting {', '.join(sorted(map(str, unknown)))}; it has {', '.join(kind._setting_names)}")
    if "candidates" in arguments:
        arguments["candidates"] = [quantizer_from_settings(entry) for entry in _mappings(arguments["candidates"])]
    return kind(**arguments)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in value):
        raise ConfigError(f"candidates must be a list of quantizer settings, got {value!r}")
    return list(value)
