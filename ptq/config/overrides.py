"""What is different for some layers and tensors: the changes that one entry of ``PTQConfig.overrides`` makes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from quantizers import (
    AbsmaxQuantizer,
    BaseQuantizer,
    HistQuantizer,
    MSEQuantizer,
    PerChannelAbsmaxQuantizer,
    PerChannelHistQuantizer,
    PerChannelMSEQuantizer,
    PerChannelQuantizer,
    StatisticsQuantizer,
    quantizer_from_settings,
)
from quantizers.errors import ConfigError
from quantizers.grids.qparams import check_num_bits

__all__ = ["DYNAMIC", "QuantOverride", "check_activation_quantizer", "check_quantizer", "quantizer_of", "settings_of"]

DYNAMIC = ("tensor", "row")
PER_TENSOR: dict[type[BaseQuantizer], type[BaseQuantizer]] = {
    PerChannelAbsmaxQuantizer: AbsmaxQuantizer,
    PerChannelHistQuantizer: HistQuantizer,
    PerChannelMSEQuantizer: MSEQuantizer,
}
PER_CHANNEL = {tensor: channel for channel, tensor in PER_TENSOR.items()}


@dataclass(frozen=True, eq=False)
class QuantOverride:
    """Settings that take the place of the config's; what is ``None`` stays as it is.

    Args:
        activation_bits, weight_bits: widths of the grids, 2..16.
        activation_quantizer, weight_quantizer: other rules, with widths of their own unless the bits are given too.
        per_channel: the weight gets one scale per channel (True) or one in all (False), by the rule of the same kind.
        per_channel_activation: whether the input may get a scale per channel, see `PTQConfig`.
        dynamic: the range of a layer's input is found anew in every call, see `ptq.quantize_dynamic`: ``"tensor"``, ``"row"``, or ``True``,
            which is ``"tensor"``; ``False`` takes it back.

    Raises:
        ConfigError: a value is out of its range or of the wrong kind.
    """

    activation_bits: int | None = None
    weight_bits: int | None = None
    activation_quantizer: BaseQuantizer | None = None
    weight_quantizer: BaseQuantizer | None = None
    per_channel: bool | None = None
    per_channel_activation: bool | None = None
    dynamic: bool | str | None = None

    def __post_init__(self) -> None:
        for name in ("activation_bits", "weight_bits"):
            bits = getattr(self, name)
            if bits is not None:
                object.__setattr__(self, name, _checked_bits(name, bits))
        for name, check in (("activation_quantizer", check_activation_quantizer), ("weight_quantizer", check_quantizer)):
            quantizer = getattr(self, name)
            if quantizer is not None:
                check(name, quantizer)
                object.__setattr__(self, name, copy.deepcopy(quantizer))
        for name in ("per_channel", "per_channel_activation"):
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise ConfigError(f"QuantOverride: {name} must be True, False or None, got {getattr(self, name)!r}")
        if self.dynamic is not None and not isinstance(self.dynamic, bool) and self.dynamic not in DYNAMIC:
            raise ConfigError(f"QuantOverride: dynamic must be True, False, {' or '.join(map(repr, DYNAMIC))}, got {self.dynamic!r}")

    def activation(self, quantizer: BaseQuantizer) -> BaseQuantizer:
        """What takes the place of a quantizer of activations; ``quantizer`` itself may be changed."""
        rule = quantizer if self.activation_quantizer is None else copy.deepcopy(self.activation_quantizer)
        return _with_bits(rule, self.activation_bits)

    def dynamic_kind(self, kind: str) -> str:
        """What takes the place of a kind of dynamic input, ``""`` for none."""
        if isinstance(self.dynamic, bool):
            return DYNAMIC[0] if self.dynamic else ""
        return kind if self.dynamic is None else self.dynamic

    def weight(self, quantizer: BaseQuantizer) -> BaseQuantizer:
        """What takes the place of a quantizer of weights; ``quantizer`` itself may be changed.

        Raises:
            ConfigError: the rule has no form of the other granularity.
        """
        rule = quantizer if self.weight_quantizer is None else copy.deepcopy(self.weight_quantizer)
        if self.per_channel is not None:
            rule = _with_granularity(rule, self.per_channel)
        return _with_bits(rule, self.weight_bits)

    def to_dict(self) -> dict[str, Any]:
        """JSON values for `from_dict`; raises ``ConfigError`` for a quantizer that JSON cannot name, see `settings_of`."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: settings_of(value) if isinstance(value, BaseQuantizer) else value for name, value in found.items() if value is not None
        }

    @classmethod
    def from_dict(cls, values: Any) -> QuantOverride:
        """The override that `to_dict` described; raises ``ConfigError`` for anything else."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or not set(values) <= set(names):
            raise ConfigError(f"an override must be null or an object with some of {', '.join(names)}, got {values!r:.200}")
        found: dict[str, Any] = {name: quantizer_of(value) if name.endswith("_quantizer") else value for name, value in values.items()}
        return cls(**found)

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, QuantOverride) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.activation_bits, self.weight_bits, self.per_channel, self.per_channel_activation, self.dynamic))

    def _content(self) -> list[Any]:
        values = [getattr(self, field.name) for field in fields(self)]
        return [(type(value), value.settings()) if isinstance(value, BaseQuantizer) else value for value in values]


def check_quantizer(role: str, quantizer: object) -> None:
    """Raises `ConfigError` unless ``quantizer`` is an instance of a `BaseQuantizer` class."""
    if not isinstance(quantizer, BaseQuantizer):
        advice = "pass an instance, not the class" if isinstance(quantizer, type) else "derive it from quantizers.BaseQuantizer"
        raise ConfigError(f"{role} must be a BaseQuantizer instance, got {quantizer!r}; {advice}")


def check_activation_quantizer(role: str, quantizer: object) -> None:
    """As `check_quantizer`, and raises for quantizers that give one range per channel."""
    check_quantizer(role, quantizer)
    if isinstance(quantizer, PerChannelQuantizer):
        raise ConfigError(f"{type(quantizer).__name__} is for weights: an activation needs one range, not one per channel")


def settings_of(quantizer: BaseQuantizer) -> dict[str, Any]:
    """The settings of a quantizer as JSON values, of which `quantizer_of` makes an equal one.

    Raises:
        ConfigError: the quantizer is of a class that is not registered by name, or its settings do not make it again.
    """
    settings = quantizer.settings()
    try:
        again = quantizer_of(settings)
        is_same = type(again) is type(quantizer) and again.settings() == settings
    except ConfigError:
        is_same = False
    if not is_same:
        raise ConfigError(
            f"{type(quantizer).__name__} cannot be written as JSON: decorate the class with quantizers.register_quantizer, "
            "and let its constructor take what settings() returns"
        )
    return settings


def quantizer_of(settings: Any) -> BaseQuantizer:
    """The quantizer with these settings; raises ``ConfigError`` for anything else, whatever its class makes of it."""
    if not isinstance(settings, Mapping):
        raise ConfigError(f"a quantizer's settings must be an object such as {{'type': 'KLQuantizer'}}, got {settings!r:.200}")
    try:
        return quantizer_from_settings(settings)
    except ConfigError:
        raise
    except Exception as error:  # the constructors of registered classes are anyone's code
        raise ConfigError(f"no quantizer has the settings {settings!r:.200}: {type(error).__name__}: {error}") from error


def _checked_bits(name: str, bits: object) -> int:
    try:
        return check_num_bits(bits)
    except ConfigError as error:
        raise ConfigError(f"QuantOverride: {name}: {error}") from error


def _with_bits(quantizer: BaseQuantizer, bits: int | None) -> BaseQuantizer:
    if bits is not None:
        quantizer.quant_bits = bits
    return quantizer


def _with_granularity(quantizer: BaseQuantizer, per_channel: bool) -> BaseQuantizer:
    """The rule of the same kind with one scale per channel, or with one in all."""
    if isinstance(quantizer, PerChannelQuantizer if per_channel else StatisticsQuantizer):
        return quantizer
    kind = (PER_CHANNEL if per_channel else PER_TENSOR).get(type(quantizer))
    if kind is None:
        raise ConfigError(
            f"{type(quantizer).__name__} has no form of its own with one scale per {'channel' if per_channel else 'tensor'}; "
            "pass weight_quantizer instead of per_channel"
        )
    settings, taken = quantizer.settings(), kind().settings()
    return kind(**{name: value for name, value in settings.items() if name in taken and name != "type"})
