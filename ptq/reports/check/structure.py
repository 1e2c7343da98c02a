"""What the layers of a model tell without being run."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator

from paddle import nn

from ...passes.fold_batch_norm import BATCH_NORMS
from ...registry import PTQRegistry
from ...util.nests import tensors_in
from ...util.paddle_private import SpectralNorm, WeightNorm
from .report import Finding

__all__ = ["structure"]

EVAL = "call model.eval() before calibrating"
DROPOUTS = (nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout)
WITH_DROPOUT = (nn.MultiHeadAttention, nn.SimpleRNN, nn.LSTM, nn.GRU)


def structure(model: nn.Layer) -> Iterator[Finding]:
    """Findings on modes, shared layers, tied weights, unregistered tensors, and layers that stay float."""
    yield from _modes(model)
    yield from _shared(model)
    yield from _tied(model)
    registered = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    for name, layer in model.named_sublayers(include_self=True):
        yield from _unregistered(name, layer, registered)
        yield from _left_float(name, layer)
    if not any(_has_weights(layer) for layer in model.sublayers(include_self=True)):
        message = "no layer that can be quantized (convolution or Linear)"
        yield Finding("warning", "", "nothing-to-quantize", message, "register the model's own layers with PTQRegistry.register")


def _modes(model: nn.Layer) -> Iterator[Finding]:
    found = False
    for name, layer in model.named_sublayers(include_self=True):
        if not layer.training:
            continue
        if isinstance(layer, BATCH_NORMS) and not layer._use_global_stats:
            found = True
            message = "in train mode: every calibration batch is normalised by its own statistics and changes the stored ones"
            yield Finding("warning", name, "train-mode", message, EVAL)
        elif _dropout_probability(layer) > 0:
            found = True
            yield Finding("warning", name, "dropout-active", "in train mode: ranges are calibrated on tensors with dropout", EVAL)
    if model.training and not found:
        yield Finding("info", "", "train-mode", "the model is in train mode, on which none of Paddle's layers in it depends", EVAL)


def _dropout_probability(layer: nn.Layer) -> float:
    value = getattr(layer, "p" if isinstance(layer, DROPOUTS) else "dropout", 0.0)
    known = isinstance(layer, (*DROPOUTS, *WITH_DROPOUT)) and isinstance(value, (int, float))
    return float(value) if known else 0.0


def _shared(model: nn.Layer) -> Iterator[Finding]:
    names: dict[int, list[str]] = {}
    for name, layer in model.named_sublayers(remove_duplicate=False):
        names.setdefault(id(layer), []).append(name)
    layers = dict(model.named_sublayers())
    for name, layer in layers.items():
        parent = layers.get(name.rpartition(".")[0])
        if len(names[id(layer)]) > 1 and (parent is None or len(names[id(parent)]) == 1):
            others = ", ".join(other for other in names[id(layer)] if other != name)
            message = f"the same layer is registered as {others} too"
            yield Finding("info", name, "shared-layer", message, "nothing: it is quantized once, under all its names")


def _tied(model: nn.Layer) -> Iterator[Finding]:
    owners: dict[int, list[str]] = {}
    for name, layer in model.named_sublayers(include_self=True):
        for key, parameter in layer._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(f"{name}.{key}" if name else key)
    for first, *others in owners.values():
        layer, _, key = first.rpartition(".")
        others = [other for other in others if not (layer and other.startswith(f"{layer}."))]  # an LSTM and its own cells
        if others:
            message = f"its {key} is the same parameter as {', '.join(others)}"
            advice = "nothing, if all of them may be rounded apart: every quantized layer keeps integers of its own"
            yield Finding("info", layer, "tied-weights", message, advice)


def _unregistered(name: str, layer: nn.Layer, registered: Collection[int]) -> Iterator[Finding]:
    if type(layer).__module__.partition(".")[0] == "paddle":
        return  # an LSTM keeps its flat weights so, and copes with it
    for attribute, value in vars(layer).items():
        if attribute in _attributes_of_every_layer():
            continue
        if any(id(tensor) not in registered for tensor in tensors_in(value)):
            message = (
                f"attribute {attribute!r} holds tensors that are neither parameters nor buffers: "
                "Paddle cannot trace or save a forward that reads them"
            )
            yield Finding("warning", name, "unregistered-tensor", message, "register_buffer each of them")


@functools.cache
def _attributes_of_every_layer() -> frozenset[str]:
    return frozenset(vars(nn.Layer()))


def _left_float(name: str, layer: nn.Layer) -> Iterator[Finding]:
    base = PTQRegistry.overridden_base(layer)
    if base is not None:
        message = (
            f"stays float, since {type(layer).__name__} has a forward of its own, which may compute something else than {base.__name__}"
        )
        yield Finding("warning", name, "own-forward", message, "PTQRegistry.register the class to quantize it")
    elif not _has_weights(layer):
        return
    elif any(isinstance(hook, (WeightNorm, SpectralNorm)) for hook in layer._forward_pre_hooks.values()):
        message = "a weight or spectral norm computes its weight in every forward; quantize makes it a parameter, as it is in eval mode"
        yield Finding("info", name, "weight-norm", message, "nothing, once training is over")
    elif not PTQRegistry.layer_info(layer).weights_of(layer):
        message = "stays float, since its weight is recomputed in every forward"
        yield Finding("warning", name, "recomputed-weight", message, "make it a parameter to quantize it")


def _has_weights(layer: nn.Layer) -> bool:
    return PTQRegistry.is_simulated_quant_layer(layer) or PTQRegistry.is_weight_only_layer(layer)
