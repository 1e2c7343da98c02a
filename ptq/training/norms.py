"""The batch norm behind a layer in training: trained as it is, or folded into the weight that is rounded."""

from __future__ import annotations

import copy

import paddle
from paddle import nn

from ..passes.fold_batch_norm import is_batch_norm, is_channel_last
from ..registry import PTQRegistry

__all__ = ["bare_norm", "folded_bias", "folded_weight", "freeze_batch_norms", "unfolded_result"]


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


def factor(norm: nn.Layer) -> paddle.Tensor:
    """What the running statistics multiply each channel by, ``[C]``: ``gamma / sqrt(variance + epsilon)``."""
    deviation = paddle.sqrt(norm._variance.detach() + norm._epsilon)
    return 1 / deviation if norm.weight is None else norm.weight / deviation


def folded_weight(layer: nn.Layer, norm: nn.Layer, weight: paddle.Tensor) -> paddle.Tensor:
    """The weight with the batch norm's running statistics in it."""
    return weight * factor(norm).astype(weight.dtype).reshape(_weight_shape(layer, weight.ndim))


def folded_bias(norm: nn.Layer, bias: paddle.Tensor | None) -> paddle.Tensor | None:
    """The bias that goes with a folded weight; none while statistics are learned, for then the batch's count."""
    if _learns_statistics(norm):
        return None
    mean = norm._mean.detach()
    folded = (0 - mean if bias is None else bias - mean) * factor(norm)
    return folded if norm.bias is None else folded + norm.bias


def unfolded_result(norm: nn.Layer, bias: paddle.Tensor | None, output: paddle.Tensor) -> paddle.Tensor:
    """The result of a layer with a folded weight, normalised by the statistics of the batch while these are learned.

    The factor of the running statistics is taken out again, so that weights are rounded without the noise of single batches
    (Krishnamoorthi 2018, arXiv:1806.08342, 3.2.2).
    """
    if not _learns_statistics(norm):
        return output
    multiplied = factor(norm)
    shape = _output_shape(norm, output.ndim)
    safe = paddle.where(multiplied.abs() < 1e-12, paddle.ones([]), multiplied)
    raw = output / safe.astype(output.dtype).reshape(shape)
    return norm(raw if bias is None else raw + bias.reshape(shape))


def _learns_statistics(norm: nn.Layer) -> bool:
    return bool(norm.training) and not norm._use_global_stats


def _weight_shape(layer: nn.Layer, rank: int) -> list[int]:
    axis = PTQRegistry.layer_info(layer).quant_axis
    return [-1 if index == axis else 1 for index in range(rank)]


def _output_shape(norm: nn.Layer, rank: int) -> list[int]:
    axis = rank - 1 if is_channel_last(norm) else 1
    return [-1 if index == axis else 1 for index in range(rank)]
