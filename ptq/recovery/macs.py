"""Multiply-accumulates of layers, counted while the float model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..calibration.seen import Sample
from ..registry import PTQRegistry
from ..util.modes import eval_mode

__all__ = ["count_macs"]


def count_macs(model: nn.Layer, layers: Mapping[str, nn.Layer], samples: Sequence[Sample]) -> dict[str, int]:
    """Multiply-accumulates of layers with one weight in one call of each sample; 0 for those that look up or have several weights."""
    found = dict.fromkeys(layers, 0)

    def counter(name: str) -> Any:
        def hook(layer: Any, args: Any, answer: Any) -> None:
            if hasattr(layer, "weight") and not PTQRegistry.is_weight_only_layer(layer) and isinstance(answer, paddle.Tensor) and args:
                found[name] += _macs(layer, args[0], answer)

        return hook

    handles = [layer.register_forward_post_hook(counter(name)) for name, layer in layers.items()]
    try:
        with paddle.no_grad(), eval_mode(model):
            for sample in samples:
                args, kwargs = sample.call()
                model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _macs(layer: Any, x: Any, y: Any) -> int:
    shape = [int(size) for size in layer.weight.shape]
    if isinstance(layer, (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)):  # each input meets the weights of its channel
        return int(np.prod(x.shape)) * int(np.prod(shape[1:]))
    axis = PTQRegistry.layer_info(layer).quant_axis or 0  # each result is a sum over the weights of its channel
    return int(np.prod(y.shape)) * int(np.prod(shape)) // shape[axis]
