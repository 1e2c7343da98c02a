"""The batch norm behind a layer in training: trained as it is, or folded into the weight that is rounded."""

from __future__ import annotations

import copy
from typing import Any

import paddle
from paddle import nn

from ..passes.fold_batch_norm import is_batch_norm, is_channel_last
from ..registry import PTQRegistry

__all__ = ["FoldedNorm", "bare_norm", "freeze_batch_norms"]


def bare_norm(norm: nn.Layer) -> nn.Layer:
    """A batch norm over the same parameters and statistics, without the user's hooks and its activation, which stay in its old place."""
    made: nn.Layer = norm.__class__.__new__(norm.__class__)
    made.__dict__.update({name: copy.copy(value) if isinstance(value, (dict, set, list)) else value for name, value in vars(norm).items()})
    for name, value in vars(made).items():
        if name.startswith("_forward_"):
            value.clear()
    if getattr(made, "_act", None):
        made._act = None
    return made


def freeze_batch_norms(model: nn.Layer, frozen: bool = True) -> None:
    """Lets every batch norm of the model use its running statistics in training too, and keep them; undone with ``frozen=False``.

    Towards the end of a training this makes what is trained the same as what runs (Krishnamoorthi 2018, arXiv:1806.08342, 3.2.2).
    """
    for layer in model.sublayers(include_self=True):
        if is_batch_norm(layer):
            layer._use_global_stats = frozen or (False if isinstance(layer, nn.BatchNorm) else None)


class FoldedNorm:
    """A batch norm that a layer in training applies itself.

    Args:
        layer: the batch norm.
        in_training: fold it into the weight in training, instead of letting it follow the layer.
    """

    def __init__(self, layer: nn.Layer, in_training: bool) -> None:
        self.layer = layer
        self.in_training = in_training

    def __deepcopy__(self, memo: Any) -> FoldedNorm:
        return FoldedNorm(copy.deepcopy(self.layer, memo), self.in_training)

    @property
    def _learns_statistics(self) -> bool:
        return bool(self.layer.training) and not self.layer._use_global_stats

    def factor(self) -> paddle.Tensor:
        """What the running statistics multiply each channel by, ``[C]``: ``gamma / sqrt(variance + epsilon)``."""
        deviation = paddle.sqrt(self.layer._variance.detach() + self.layer._epsilon)
        return 1 / deviation if self.layer.weight is None else self.layer.weight / deviation

    def before(self, layer: Any, weight: paddle.Tensor) -> paddle.Tensor:
        """The weight that is rounded."""
        if not self.in_training:
            return weight
        return weight * self.factor().astype(weight.dtype).reshape(_weight_shape(layer, weight.ndim))

    def bias(self, layer: Any) -> Any:
        """The bias that the layer itself adds."""
        own = layer._parameters.get("bias")
        if not self.in_training:
            return own
        if self._learns_statistics:
            return None
        mean = self.layer._mean.detach()
        bias = (0 - mean if own is None else own - mean) * self.factor()
        return bias if self.layer.bias is None else bias + self.layer.bias

    def after(self, layer: Any, output: paddle.Tensor) -> paddle.Tensor:
        """The layer's result, normalised."""
        if not self.in_training:
            return self.layer(output)
        if not self._learns_statistics:
            return output
        # the factor of the running statistics is taken out again, so that the batch's take its place: no noise in the weight's grid
        factor = self.factor()
        safe = paddle.where(factor.abs() < 1e-12, paddle.ones([]), factor)
        shape = _output_shape(self.layer, output.ndim)
        raw = output / safe.astype(output.dtype).reshape(shape)
        own = layer._parameters.get("bias")
        return self.layer(raw if own is None else raw + own.reshape(shape))


def _weight_shape(layer: nn.Layer, rank: int) -> list[int]:
    axis = PTQRegistry.layer_info(layer).quant_axis
    return [-1 if index == axis else 1 for index in range(rank)]


def _output_shape(norm: nn.Layer, rank: int) -> list[int]:
    axis = rank - 1 if is_channel_last(norm) else 1
    return [-1 if index == axis else 1 for index in range(rank)]
