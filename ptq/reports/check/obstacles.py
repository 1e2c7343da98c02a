"""What makes a model unfit for the engine at all: its kind, its mode, and what was done to it before."""

from __future__ import annotations

from collections.abc import Iterator

import paddle
from paddle import nn

from ...calibration.hooks import is_calibrating
from ...calibration.state import state_of
from ...registry import PTQRegistry
from ...util.paddle_private import StaticFunction
from .report import Finding

__all__ = ["obstacles", "static_mode"]


def obstacles(model: nn.Layer) -> Iterator[Finding]:
    """Errors that leave nothing else to look at: such a model must not even be called."""
    if isinstance(model, paddle.DataParallel):
        yield Finding("error", "", "data-parallel", "the model is wrapped in paddle.DataParallel", "quantize what it wraps, model._layers")
    yield from static_mode()
    layers = [(name or type(layer).__name__, layer) for name, layer in model.named_sublayers(include_self=True)]
    for name, layer in layers:
        if isinstance(layer.forward, StaticFunction):
            yield Finding(
                "error",
                name,
                "static-function",
                "forward was turned into a program by paddle.jit.to_static, so hooks would see no data",
                "call forward.rollback(), or paddle.jit.enable_to_static(False) before building the model",
            )
    if is_calibrating(model) or state_of(model) is not None:
        yield Finding("error", "", "prepared", "the model was prepared by quantize already", "quantize the float model instead")
    for name, layer in layers:
        if PTQRegistry.is_quantized_layer(layer):
            message = "the model holds quantized layers already"
            yield Finding("error", name, "quantized", message, "quantize the float model instead")


def static_mode() -> Iterator[Finding]:
    """An error while static mode is on."""
    if not paddle.in_dynamic_mode():
        yield Finding("error", "", "static-mode", "static mode is on", "call paddle.disable_static() before quantizing a dygraph model")
