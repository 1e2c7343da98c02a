"""Which layers a config leaves float by parts of their names or by their kinds."""

from __future__ import annotations

from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..registry import PTQRegistry
from .config import QATConfig, with_float_layers

__all__ = ["stays_float"]


def stays_float(model: nn.Layer, settings: QATConfig) -> QATConfig:
    """The settings with ``not_quant_pattern`` and ``quantizable_layer_type`` made overrides of this model.

    Raises:
        ConfigError: a layer type is not one that can be quantized.
    """
    layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if _has_weights(layer)}
    wanted = _kinds(settings.quantizable_layer_type)
    float_layers = [
        name
        for name, layer in layers.items()
        if any(text in name for text in settings.not_quant_pattern) or (wanted is not None and not isinstance(layer, wanted))
    ]
    return settings.with_ptq(with_float_layers(settings.ptq, float_layers)) if float_layers else settings


def _has_weights(layer: nn.Layer) -> bool:
    return PTQRegistry.is_simulated_quant_layer(layer) or PTQRegistry.is_weight_only_layer(layer)


def _kinds(given: Any) -> tuple[type[nn.Layer], ...] | None:
    if given is None:
        return None
    if isinstance(given, (str, type)):
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise ConfigError(f"quantizable_layer_type must be a list of names or classes of layers, got {given!r}")
    return tuple(map(_kind, given))


def _kind(given: Any) -> type[nn.Layer]:
    found = getattr(nn, given, None) if isinstance(given, str) else given
    if not isinstance(found, type) or not issubclass(found, nn.Layer) or not _is_quantizable(found):
        raise ConfigError(f"quantizable_layer_type has {given!r}, which is no layer with weights that can be quantized")
    return found


def _is_quantizable(kind: type[nn.Layer]) -> bool:
    return PTQRegistry.is_supported_layer(kind) and bool(PTQRegistry.layer_info(kind).weight_names)
