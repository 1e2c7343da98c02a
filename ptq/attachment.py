"""Which layers are prepared for calibration: each gets a config of its own and a hook."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from paddle import nn

from .config import PTQConfig
from .hooks import SummaryCache, attach_sample_hook
from .messages import warn
from .observation import Observation
from .registry import PTQRegistry

__all__ = ["attach_quantizers", "configure"]


def attach_quantizers(model: nn.Layer, config: PTQConfig, observation: Observation, cache: SummaryCache) -> None:
    """Configures every supported leaf layer of the model, and warns of those that could have been quantized and are not."""
    found, overridden, recomputed = 0, [], []
    for name, layer in _quantizable(model):
        if not PTQRegistry.is_supported_layer(layer):
            if PTQRegistry.overridden_base(layer) is not None:
                overridden.append(f"{name} ({type(layer).__name__})")
            continue
        simulated = PTQRegistry.is_simulated_quant_layer(layer)
        if simulated and "weight" not in layer._parameters:
            recomputed.append(name)
            continue
        own = configure(layer, name, config, observation, cache)
        own.enable_in_act_quantizer = simulated
        own.enable_out_act_quantizer = not simulated and not PTQRegistry.layer_info(layer).transparent
        found += simulated
    if overridden:
        warn(
            f"left float, since they have a forward of their own: {', '.join(overridden)}; "
            "PTQRegistry.register their class to quantize them"
        )
    if recomputed:
        warn(
            f"left float, since their weight is recomputed in every forward (weight or spectral norm): {', '.join(recomputed)}; "
            "remove the norm (paddle.nn.utils.remove_weight_norm) to quantize them"
        )
    if not found:
        warn(f"{type(model).__name__} has no layer that can be quantized (convolution or Linear): nothing will be")


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
    for name, child in children:
        yield from _quantizable(child, f"{prefix}.{name}" if prefix else name, seen)
