"""Twins take the place of layers in a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from paddle import nn

from quantizers.errors import ModelError, TraceError

from ..calibration.state import Converted, State, state_of
from ..config.config import PTQConfig
from ..convert.apply import swapped
from ..convert.ties import drop_float_uses, tie_weights, warn_of_float_uses
from ..graph.tracing import trace
from ..layers import QuantizedLayer
from ..passes.fold_batch_norm import is_batch_norm
from ..passes.fuse import fuse_traced
from ..util.messages import last_line, warn
from ..util.structural_copy import structural_copy
from ..util.tracer import TRACER

__all__ = ["with_twins", "working_copy"]


def working_copy(model: nn.Layer, input_spec: Sequence[Any] | None = None, fuse: bool = False) -> nn.Layer:
    """A model over the same tensors whose layers may be replaced while ``model`` is left alone.

    With ``fuse`` it is in eval mode, and batch norms are folded into the layers before them where ``input_spec`` lets the model be traced.
    """
    working = structural_copy(model)
    if fuse:
        working.eval()
    if fuse and input_spec is not None and any(is_batch_norm(layer) for layer in working.sublayers()):
        try:
            with TRACER:
                fuse_traced(working, trace(working, list(input_spec), {}))
        except TraceError as error:
            warn(f"{error}; batch norms are not folded")
    return working


def with_twins(working: nn.Layer, twins: Mapping[str, QuantizedLayer], *, keep_float: bool) -> nn.Layer:
    """The working copy with twins of the layers of those names, on tensors of its own.

    Args:
        working: from `working_copy`; its layers are still float.
        twins: by the name of the layer whose place they take.
        keep_float: let the result know its float layers, for ``float_baseline``, until it is saved or released.

    Raises:
        ModelError: the model cannot be copied.
    """
    layers = dict(working.named_sublayers(include_self=True))
    replaced = {layers[name]: twin for name, twin in twins.items()}
    tie_weights(replaced, {layers[name]: name for name in twins})
    trial = swapped(working, replaced)
    warn_of_float_uses(trial, replaced, {layers[name]: name for name in twins})
    drop_float_uses(trial, replaced)
    earlier = state_of(working)
    try:
        model = copy.deepcopy(trial)
    except Exception as error:  # the user's classes: anything may come out of it
        raise ModelError(f"{type(working).__name__} cannot be copied ({type(error).__name__}: {last_line(error)})") from error
    state = State(PTQConfig()) if earlier is None else copy.deepcopy(earlier)
    pairs = {} if earlier is None or earlier.converted is None else dict(earlier.converted.float_layers)
    if keep_float:
        of_name = {name: layer for name, layer in layers.items() if name in twins}
        pairs |= {layer: twins[name] for name, layer in of_name.items()}
    places = {id(layer): name for name, layer in trial.named_sublayers(include_self=True)}
    copied = dict(model.named_sublayers(include_self=True))
    state.converted = Converted({layer: copied[places[id(twin)]] for layer, twin in pairs.items() if id(twin) in places})
    state.attach(model)
    return model
