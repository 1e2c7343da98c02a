"""Layers that Paddle's own quantization leaves in a model to mark a place.

They compute nothing of their own, and call operators that only a static program has: a model that holds one can be neither traced nor
saved.
"""

from __future__ import annotations

from paddle import nn
from paddle.nn.quant import QuantStub

from ..util.paddle_private import MAOutputScaleLayer, MovingAverageAbsMaxScale
from ..util.structural_copy import structural_copy

__all__ = ["drop_markers", "without_markers"]

MARKERS = (QuantStub, MovingAverageAbsMaxScale, MAOutputScaleLayer)


def drop_markers(model: nn.Layer) -> None:
    """Puts what a marker stands for in its place: nothing, or the layer that it wraps; in place."""
    for layer in model.sublayers(include_self=True):
        for name, child in list(layer._sub_layers.items()):
            if isinstance(child, MARKERS):
                layer._sub_layers[name] = _unmarked(child)


def without_markers(model: nn.Layer) -> nn.Layer:
    """The model, or where it holds markers a structural copy without them."""
    if not any(isinstance(layer, MARKERS) for layer in model.sublayers()):
        return model
    copied = structural_copy(model)
    drop_markers(copied)
    return copied


def _unmarked(layer: nn.Layer) -> nn.Layer:
    while isinstance(layer, MAOutputScaleLayer):  # it wraps the layer whose output it marks
        layer = layer._layer
    return nn.Identity() if isinstance(layer, MARKERS) else layer
