"""Keeps weights tied that were tied: layers that shared one parameter share its integers and scales."""

from __future__ import annotations

from collections.abc import Mapping

from paddle import nn
from paddle.nn.layer.rnn import RNNBase

from ..layers import QuantizedLayer
from ..registry import PTQRegistry
from ..util.messages import warn

__all__ = ["settle_float_uses", "tie_weights"]


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
            for buffer in ("quantized", "scale"):
                twins[layer].register_buffer(f"{name}_{buffer}", source._buffers[f"{weight}_{buffer}"])
            twins[layer]._weight_bits = source._weight_bits


def settle_float_uses(model: nn.Layer, twins: Mapping[nn.Layer, nn.Layer], names: Mapping[nn.Layer, str]) -> None:
    """Warns of quantized weights that the converted model also holds as float parameters, where no layer was quantized.

    A recurrent layer that runs its cells shows their parameters as its own too, and never reads them: those are dropped.
    """
    owners = {
        id(parameter): layer
        for layer, twin in twins.items()
        if isinstance(twin, QuantizedLayer)
        for parameter in PTQRegistry.layer_info(layer).weights_of(layer).values()
    }
    for path, layer in model.named_sublayers(include_self=True):
        for name, parameter in list(layer._parameters.items()):
            owner = owners.get(id(parameter))
            if owner is not None and isinstance(layer, RNNBase):
                del layer._parameters[name]
            elif owner is not None:
                place = f"{path}.{name}" if path else name
                warn(
                    f"'{place}' is the weight of '{names[owner]}', which is quantized, and stays a float parameter beside it: the two "
                    "differ and both are saved; let forward read the layer's own weight to keep them tied"
                )
