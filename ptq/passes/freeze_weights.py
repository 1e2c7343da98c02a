"""Makes weights that a norm computes anew in every forward plain parameters again.

`paddle.nn.utils.weight_norm` and `spectral_norm` keep a weight as direction and length, or as a matrix and its largest singular
vectors, and compute it in a forward pre-hook.  Once training is over the weight is the same in every forward.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import paddle
from paddle import nn

from ..util.paddle_private import SpectralNorm, WeightNorm

__all__ = ["freeze_weights"]


def freeze_weights(layers: Iterable[nn.Layer]) -> None:
    """Freezes, in place, every weight of the layers that a weight or spectral norm computes, at its value in eval mode."""
    for layer in layers:
        for key, hook in list(layer._forward_pre_hooks.items()):
            if isinstance(hook, (WeightNorm, SpectralNorm)):
                _freeze(layer, hook)
                del layer._forward_pre_hooks[key]
                layer._forward_pre_hooks_with_kwargs_flag.pop(key, None)


def _freeze(layer: nn.Layer, hook: Any) -> None:
    with paddle.no_grad():
        is_weight_norm = isinstance(hook, WeightNorm)
        weight = hook.compute_weight(layer) if is_weight_norm else hook.compute_weight(layer, do_power_iteration=False)
    parts = ("_v", "_g") if is_weight_norm else ("_orig", "_u", "_v")
    for name in (hook.name, *(f"{hook.name}{part}" for part in parts)):
        delattr(layer, name)
    # not Paddle's remove_weight_norm: its parameter starts at random, and so moves the user's random numbers on
    frozen = layer.create_parameter(weight.shape, dtype=weight.dtype, default_initializer=nn.initializer.Constant(0.0))
    frozen.set_value(weight)
    layer.add_parameter(hook.name, frozen)
