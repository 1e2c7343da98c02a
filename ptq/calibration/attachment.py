"""Which layers are prepared for calibration: each gets a scheme, a state of its own, and a hook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paddle import nn

from quantizers.errors import ConfigError

from ..config.keys import ModelKeys
from ..config.overrides import QuantOverride
from ..config.scheme import LayerScheme
from ..passes.freeze_weights import freeze_weights
from ..registry import PTQRegistry
from ..util.messages import warn
from .hooks import attach_sample_hook
from .state import LayerState, State

__all__ = ["attach_quantizers", "configure", "quantizable_layers"]


def attach_quantizers(model: nn.Layer, state: State) -> None:
    """Configures every supported leaf layer of the model, and warns of those that could have been quantized and are not."""
    layers = _with_schemes(model, state)
    freeze_weights(layer for _, layer, _, _ in layers if PTQRegistry.is_supported_layer(layer))
    found, overridden, recomputed = 0, [], []
    for name, layer, scheme, changes in layers:
        if not PTQRegistry.is_supported_layer(layer):
            if PTQRegistry.overridden_base(layer) is not None:
                overridden.append(f"{name} ({type(layer).__name__})")
            continue
        simulated, weight_only = PTQRegistry.is_simulated_quant_layer(layer), PTQRegistry.is_weight_only_layer(layer)
        info = PTQRegistry.layer_info(layer)
        if (simulated or weight_only) and not info.weights_of(layer):
            recomputed.append(name)
            continue
        is_observed = not simulated and not info.transparent
        used = LayerScheme(
            scheme.weight if simulated or weight_only else None, scheme.input if simulated else None, scheme.output if is_observed else None
        )
        configure(layer, LayerState(name, used, scheme, changes), state)
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


def _with_schemes(model: nn.Layer, state: State) -> list[tuple[str, nn.Layer, LayerScheme, Sequence[QuantOverride]]]:
    """The layers that may be quantized, without those that the config leaves float, with the scheme of each and what changed it."""
    keys = ModelKeys(model, state.config.overrides)
    keys.check_layers(state.config.placement)
    found: list[tuple[str, nn.Layer, LayerScheme, Sequence[QuantOverride]]] = []
    for name, layer in quantizable_layers(model):
        changes = keys.changes_of(layer)
        if changes is not None:
            try:
                found.append((name, layer, state.config.scheme(changes), changes))
            except ConfigError as error:
                raise ConfigError(f"layer '{name}': {error}") from error
    return found


def configure(layer: nn.Layer, own: LayerState, state: State, input_name: str = "") -> None:
    """Names the quantizers of a layer's state after it (its input after ``input_name``), and attaches the hook that feeds them."""
    own.in_act_quantizer.name = input_name or f"layer '{own.name}' input"
    own.out_act_quantizer.name = f"layer '{own.name}' output"
    own.wt_quantizer.name = f"layer '{own.name}' weight"
    own.wt_quantizer.quant_axis = PTQRegistry.layer_info(layer).quant_axis
    own.wt_quantizer.is_weight = True
    attach_sample_hook(layer, own, state)


def quantizable_layers(model: nn.Layer, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, nn.Layer]]:
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
        yield from quantizable_layers(child, f"{prefix}.{name}" if prefix else name, seen)
