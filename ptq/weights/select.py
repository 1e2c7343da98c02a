"""Which layers a call speaks of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError, ModelError

from ..calibration.attachment import quantizable_layers
from ..config.keys import Key, ModelKeys
from ..config.overrides import QuantOverride
from ..registry import PTQRegistry
from ..util.messages import warn

__all__ = ["Layers", "layers_to_quantize"]

Layers = Key | Sequence[Key] | None


def layers_to_quantize(model: nn.Layer, layers: Layers, accepts: Callable[[nn.Layer], bool] | None = None) -> dict[str, nn.Layer]:
    """Layers with weights that are still float, by name, each once; without those that have ``skip_quant`` set.

    Args:
        model: the model.
        layers: a name, a glob, ``re:`` and an expression, a class, or a list of these, as keys of ``PTQConfig.overrides``; ``None``: all.
        accepts: tells whether a layer can be had at all.

    Raises:
        ConfigError: ``layers`` is something else, or a key matches no layer.
        ModelError: nothing is left to quantize.
    """
    keys = ModelKeys(model, dict.fromkeys(_listed(layers), QuantOverride()))
    keys.check_layers("compute")
    found, overridden = {}, []
    for name, layer in quantizable_layers(model):
        if layers is not None and not keys.changes_of(layer):
            continue
        if not PTQRegistry.is_supported_layer(layer):
            overridden += [f"{name} ({type(layer).__name__})"] * (PTQRegistry.overridden_base(layer) is not None)
        elif PTQRegistry.layer_info(layer).weights_of(layer) and (accepts is None or accepts(layer)):
            found[name] = layer
    if overridden:
        warn(f"left float, since they have a forward of their own: {', '.join(overridden)}; PTQRegistry.register their class")
    if not found:
        chosen = "" if layers is None else f" that layers={layers!r:.200} names"
        raise ModelError(f"{type(model).__name__} has no float layer{chosen} that can be quantized: they are quantized already, or none is")
    return found


def _listed(layers: Layers) -> list[Any]:
    if layers is None:
        return []
    listed = [layers] if isinstance(layers, (str, type)) else layers
    if not isinstance(listed, (list, tuple)) or not listed:
        raise ConfigError(f"layers must be a name, a pattern, a class of layers, or a list of these, got {layers!r:.200}")
    if any(not isinstance(key, (str, type)) for key in listed):
        raise ConfigError(f"layers must hold names, patterns or classes of layers, got {layers!r:.200}")
    return list(listed)
