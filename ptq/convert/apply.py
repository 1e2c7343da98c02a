"""The last step of a conversion: twins take the place of layers.  All that may fail has been done before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paddle import nn

from quantizers.errors import ModelError

from ..calibration.hooks import remove_hooks
from ..calibration.state import Converted, State, state_of
from ..layers import GridInput
from ..layers.gridded import compute_in_float, compute_on_integers, drop_grid, is_gridded, set_gridded_class
from ..passes.replace import replace_layers
from ..registry import PTQRegistry
from ..util.structural_copy import structural_copy
from .plan import Plan
from .ties import drop_float_uses

__all__ = ["apply", "as_float", "swapped", "trial_of"]


def apply(
    model: nn.Layer, state: State, plan: Plan, twins: Mapping[str, GridInput], on_integers: Iterable[str], keep_float: bool
) -> nn.Layer:
    """Changes the model in place and returns it, or its twin when the model itself is a quantized layer.

    ``on_integers``: the sites of the activations that are computed on integers from now on.
    """
    for name, layer in list(model.named_sublayers(include_self=True)):
        remove_hooks(layer)
        if name in plan.left_out.grids:
            drop_grid(model, layer)
            del state.layers[name]
        elif name in plan.left_out.layers:
            del state.layers[name], layer._quant_config
        elif name in plan.states:
            state.layers[name] = layer._quant_config = plan.states[name]
            plan.states[name].release()
    converted = swapped(model, {layer: twins[name] for name, layer in plan.layers.items()})
    compute_on_integers(converted, on_integers)
    drop_float_uses(converted, {layer: twins[name] for name, layer in plan.layers.items()})
    state.converted = Converted({layer: twins[name] for name, layer in plan.layers.items()})
    state.target, state.left_float = plan.target, plan.left_out.layers
    state.attach(converted)
    if not keep_float:
        state.release()
    return converted


def swapped(model: nn.Layer, twins: Mapping[nn.Layer, nn.Layer]) -> nn.Layer:
    """The model with twins in the place of layers, in place."""
    was_gridded = is_gridded(model)
    converted = replace_layers(model, twins)
    if was_gridded and not is_gridded(converted):  # a model that is one layer: its twin takes over the grids
        set_gridded_class(converted)
    return converted


def trial_of(model: nn.Layer, layers: Mapping[str, nn.Layer], twins: Mapping[str, nn.Layer]) -> nn.Layer:
    """A structural copy of the model with the twins in it, to try ranges and to find what still holds a float weight."""
    trial = structural_copy(model)
    copies = dict(trial.named_sublayers(include_self=True))
    # twins hold layers of the model itself, which are replaced too
    return swapped(trial, {**{copies[name]: twin for name, twin in twins.items()}, **{layers[name]: twin for name, twin in twins.items()}})


def as_float(model: nn.Layer) -> nn.Layer:
    """A structural copy of a converted model with its float layers again, batch norms folded; the model is left alone.

    Raises:
        ModelError: they are not known: the model was saved, released, converted with ``keep_float=False``, copied or loaded.
    """
    state = state_of(model)
    pairs = {} if state is None or state.converted is None else state.converted.float_layers
    has_twins = any(map(PTQRegistry.is_quantized_layer, model.sublayers(include_self=True)))
    if state is None or state.converted is None or (has_twins and not pairs):
        raise ModelError(
            "the float layers of this converted model are not known: it was saved or released before, converted with keep_float=False, "
            "or is a copy; convert the calibrated model with keep_float=True and use what convert returns"
        )
    layer_of = {id(twin): layer for layer, twin in pairs.items()}
    baseline = structural_copy(model)
    names = {name: layer_of[id(twin)] for name, twin in model.named_sublayers(include_self=True) if id(twin) in layer_of}
    copies = dict(baseline.named_sublayers(include_self=True))
    baseline = replace_layers(baseline, {copies[name]: layer for name, layer in names.items()})
    compute_in_float(baseline)
    state.attach(baseline)
    return baseline
