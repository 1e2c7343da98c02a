"""Which layers are prepared for calibration: each gets a config of its own and a hook."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from paddle import nn

from quantizers.errors import ConfigError

from ..config.config import PTQConfig
from ..config.keys import ModelKeys
from ..passes.freeze_weights import freeze_weights
from ..registry import PTQRegistry
from ..util.messages import warn
from .hooks import SummaryCache, attach_sample_hook
from .observation import Observation

__all__ = ["attach_quantizers", "configure"]


def attach_quantizers(model: nn.Layer, config: PTQConfig, observation: Observation, cache: SummaryCache) -> None:
    """Configures every supported leaf layer of the model, and warns of those that could have been quantized and are not."""
    layers = _with_configs(model, config)
    freeze_weights(layer for _, layer, _ in layers if PTQRegistry.is_supported_layer(layer))
    found, overridden, recomputed = 0, [], []
    for name, layer, changed in layers:
        if not PTQRegistry.is_supported_layer(layer):
            if PTQRegistry.overridden_base(layer) is not None:
                overridden.append(f"{name} ({type(layer).__name__})")
            continue
        simulated, weight_only = PTQRegistry.is_simulated_quant_layer(layer), PTQRegistry.is_weight_only_layer(layer)
        info = PTQRegistry.layer_info(layer)
        if (simulated or weight_only) and not info.weights_of(layer):
            recomputed.append(name)
            continue
        own = configure(layer, name, changed, observation, cache)
        own.enable_in_act_quantizer = simulated
        own.enable_out_act_quantizer = not simulated and not info.transparent
        found += simulated or weight_only
    if overridden:
        warn(
            f"left float, since they have a forward of their own: {', '.join(overridden)}; "
            "PTQRegistry.register their class to quantize them"
        )
    if recomputed:
        warn(
            f"left float, since their weight is no parameter but computed in every forward: {', '.join(recomputed)}; "
            "make it a parameter to quantize them"
        )
    if not found:
        warn(
            f"{type(model).__name__} has no layer that can be quantized (convolution, Linear, Embedding, recurrent layer): nothing will be"
        )


def _with_configs(model: nn.Layer, config: PTQConfig) -> list[tuple[str, nn.Layer, PTQConfig]]:
    """The layers that may be quantized, without those that the config leaves float, and the config of each."""
    keys = ModelKeys(model, config.overrides)
    keys.check_layers(config.placement)
    found = []
    for name, layer in _quantizable(model):
        changes = keys.changes_of(layer)
        if changes is not None:
            try:
                found.append((name, layer, config.overridden(changes)))
            except ConfigError as error:
                raise ConfigError(f"layer '{name}': {error}") from error
    return found


def configure(layer: nn.Layer, name: str, config: PTQConfig, observation: Observation, cache: SummaryCache) -> PTQConfig:
    """Gives one layer a copy of the config, its quantizers named after it, and the hook that feeds them; returns the copy."""
    own = copy.deepcopy(config)
    for quantizer, side in ((own.in_act_quantizer, "input"), (own.out_act_quantizer, "output"), (own.wt_quantizer, "weight")):
        quantizer.name = f"layer '{name}' {side}"
    own.wt_quantizer.quant_axis = PTQRegistry.layer_info(layer).quant_axis
    own.wt_quantizer.is_weight = True
    layer._quant_config = own
    own.quant_hook_handle = attach_sample_hook(layer, name, observation, cache)
    return own


def _quantizable(model: nn.Layer, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, nn.Layer]]:
    """Leaf layers, and others of a supported class, with their names, each once, without those that are skipped."""
    seen = set() if seen is None else seen
    if id(model) in seen or getattr(model, "skip_quant", False) is True:
        return
    seen.add(id(model))
    children = [(name, child) for name, child in model.named_children() if child is not None]
    if not children or PTQRegistry.is_supported_layer(model) or PTQRegistry.overridden_base(model) is not None:
        yield prefix, model
    if PTQRegistry.is_supported_layer(model) and PTQRegistry.layer_info(model).whole:
        return
    for name, child in children:
        yield from _quantizable(child, f"{prefix}.{name}" if prefix else name, seen)
