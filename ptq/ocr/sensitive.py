"""Which layers cost most when they are rounded, measured at the model's output on calibration samples, one layer at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..registry import PTQRegistry

__all__ = ["Cost", "costs", "worst_layers"]

LEVELS = 255


@dataclass(frozen=True)
class Cost:
    """What one layer costs: ``noise``, the power of the change of the model's output when its input and result are rounded to 8 bits;
    ``macs``, its multiply-accumulates for these samples."""

    noise: float
    macs: float


def costs(model: nn.Layer, samples: np.ndarray[Any, Any]) -> dict[str, Cost]:
    """The cost of every compute layer of a float model with one input and one output.

    Args:
        model: in eval mode; left as it was.
        samples: a batch for it.

    Returns:
        Costs by the layers' names, of those that are called.
    """
    x = paddle.to_tensor(samples)
    layers = {
        name: layer for name, layer in model.named_sublayers() if PTQRegistry.is_simulated_quant_layer(layer) and hasattr(layer, "weight")
    }
    macs: dict[str, float] = {}
    with paddle.no_grad():
        with _counting(layers, macs):
            expected = model(x)
        return {name: Cost(_noise(model, layers[name], x, expected), count) for name, count in macs.items()}


@contextmanager
def _counting(layers: Mapping[str, nn.Layer], macs: dict[str, float]) -> Iterator[None]:
    def counter(name: str) -> Any:
        def count(layer: Any, inputs: Any, output: Any) -> None:
            macs[name] = macs.get(name, 0.0) + _macs(layer, inputs[0], output)

        return count

    hooks = [layer.register_forward_post_hook(counter(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _macs(layer: Any, x: Any, y: Any) -> float:
    shape = list(layer.weight.shape)
    if "Transpose" in type(layer).__name__:  # each value of the input meets the weights of its channel
        return float(np.prod(x.shape)) * float(np.prod(shape[1:]))
    axis = PTQRegistry.layer_info(layer).quant_axis  # each value of the result is a sum over the weights of its channel
    return float(np.prod(y.shape)) * float(np.prod(shape)) / float(shape[axis or 0])


def _noise(model: nn.Layer, layer: nn.Layer, x: paddle.Tensor, expected: paddle.Tensor) -> float:
    hooks = [
        layer.register_forward_pre_hook(lambda _layer, inputs: (_rounded(inputs[0]), *inputs[1:])),
        layer.register_forward_post_hook(lambda _layer, _inputs, output: _rounded(output)),
    ]
    try:
        return float(((model(x) - expected) ** 2).mean())
    finally:
        for hook in hooks:
            hook.remove()


def _rounded(x: paddle.Tensor) -> paddle.Tensor:
    low, high = float(x.min()), float(x.max())
    scale = (max(high, 0.0) - min(low, 0.0)) / LEVELS or 1.0
    return paddle.round(x / scale) * scale


def worst_layers(found: Mapping[str, Cost], share: float) -> list[str]:
    """Layers to leave float: those of most noise for their multiply-accumulates first, all of them within this share of the model's."""
    left = share * sum(cost.macs for cost in found.values())
    chosen = []
    for name, cost in sorted(found.items(), key=lambda item: -item[1].noise / item[1].macs):
        if cost.macs <= left:
            left -= cost.macs
            chosen.append(name)
    return chosen
