"""Keeps weights tied that were tied: layers that shared one parameter share its integers and scales."""

from __future__ import annotations

from collections.abc import Mapping

from paddle import nn

from ..layers import QuantizedLayer
from ..registry import PTQRegistry
from ..util.messages import warn
from ..util.paddle_private import RNNBase

__all__ = ["drop_float_uses", "tie_weights", "warn_of_float_uses"]


def tie_weights(twins: Mapping[nn.Layer, nn.Layer], names: Mapping[nn.Layer, str]) -> None:
    """Gives twins of layers that share a parameter the same buffers, in place.

    The grid is that of the first compute layer among them, for an integer kernel needs a scale per output channel; an embedding can
    use any.

    Args:
        twins: float layer to twin, before the twins are used.
        names: of the float layers, for messages.
    """
    uses: dict[int, list[tuple[nn.Layer, str]]] = {}
    for layer, twin in twins.items():
        if isinstance(twin, QuantizedLayer):
            for name, parameter in PTQRegistry.layer_info(layer).weights_of(layer).items():
                uses.setdefault(id(parameter), []).append((layer, name))
    for shared in uses.values():
        leader, weight = min(shared, key=lambda use: PTQRegistry.is_weight_only_layer(use[0]))
        source = twins[leader]
        others = [(layer, name) for layer, name in shared if layer is not leader]
        widths = {twins[layer]._weight_bits for layer, _ in shared}
        if len(widths) > 1:
            warn(
                f"{', '.join(names[layer] for layer, _ in shared)} share one weight, but are configured with {sorted(widths)} bits: "
                f"all use the {source._weight_bits} bits of {names[leader]}"
            )
        for layer, name in others:
            twins[layer].take_weight(name, source, weight)


def warn_of_float_uses(model: nn.Layer, twins: Mapping[nn.Layer, nn.Layer], names: Mapping[nn.Layer, str]) -> None:
    """Warns of quantized weights that a model with the twins in it also holds as float parameters, where no layer was quantized."""
    for path, layer, name, owner in _float_uses(model, twins):
        if not isinstance(layer, RNNBase):
            place = f"{path}.{name}" if path else name
            warn(
                f"'{place}' is the weight of '{names[owner]}', which is quantized, and stays a float parameter beside it: the two "
                "differ and both are saved; let forward read the layer's own weight to keep them tied"
            )


def drop_float_uses(model: nn.Layer, twins: Mapping[nn.Layer, nn.Layer]) -> None:
    """Drops, in place, parameters of quantized cells that a recurrent layer shows as its own too and never reads."""
    for _, layer, name, _ in _float_uses(model, twins):
        if isinstance(layer, RNNBase):
            del layer._parameters[name]


def _float_uses(model: nn.Layer, twins: Mapping[nn.Layer, nn.Layer]) -> list[tuple[str, nn.Layer, str, nn.Layer]]:
    """Path and layer that hold a quantized weight as a float parameter, its name there, and the layer whose weight it is."""
    owners = {
        id(parameter): layer
        for layer, twin in twins.items()
        if isinstance(twin, QuantizedLayer)
        for parameter in PTQRegistry.layer_info(layer).weights_of(layer).values()
    }
    return [
        (path, layer, name, owners[id(parameter)])
        for path, layer in model.named_sublayers(include_self=True)
        for name, parameter in layer._parameters.items()
        if id(parameter) in owners
    ]
