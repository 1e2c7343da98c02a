"""Folds a batch norm into the convolution or Linear before it.

In eval mode a batch norm is ``(x - mean) * gamma / sqrt(variance + epsilon) + beta`` per channel, which a linear layer before it
can do with another weight and bias (Jacob et al. 2018, arXiv:1712.05877, section 3.2).
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import FuseError

from ..registry import PTQRegistry

__all__ = ["activation_of", "fold_batch_norm", "is_batch_norm", "is_channel_last", "why_not_foldable"]

BATCH_NORMS = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "swish": nn.Swish,
    "silu": nn.Silu,
    "gelu": nn.GELU,
}
TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)


def is_batch_norm(layer: nn.Layer) -> bool:
    """Whether the layer is one of Paddle's batch norms, not a subclass that computes something else."""
    return isinstance(layer, BATCH_NORMS) and PTQRegistry.is_supported_layer(layer)


def why_not_foldable(layer: nn.Layer, batch_norm: nn.Layer) -> str:
    """Why the pair cannot be folded; an empty string when it can."""
    if not PTQRegistry.is_simulated_quant_layer(layer):
        return f"{type(layer).__name__} is not a supported convolution or Linear"
    if "weight" not in layer._parameters:
        return "its weight is recomputed in every forward (weight norm?)"
    if not is_batch_norm(batch_norm):
        return f"{type(batch_norm).__name__} is not a batch norm"
    if _uses_batch_statistics(batch_norm):
        return "the batch norm normalises with the statistics of each batch (use_global_stats=False)"
    channels = _channel_count(layer)
    if channels != batch_norm._mean.shape[0]:
        return f"the layer has {channels} output channels, the batch norm {batch_norm._mean.shape[0]}"
    if not isinstance(layer, nn.Linear) and is_channel_last(layer) != is_channel_last(batch_norm):
        return "the two have different data formats"
    if _activation_name(batch_norm) not in ("", *ACTIVATIONS):
        return f"no layer is known for the batch norm's own activation {_activation_name(batch_norm)!r}"
    return ""


def is_channel_last(layer: nn.Layer) -> bool:
    """Whether a convolution or batch norm takes its channels from the last axis."""
    data_format = layer._data_layout if isinstance(layer, nn.BatchNorm) else layer._data_format
    return len(data_format) > 2 and bool(data_format.endswith("C"))


def _uses_batch_statistics(batch_norm: nn.Layer) -> bool:
    if isinstance(batch_norm, nn.BatchNorm):
        return bool(batch_norm._trainable_statistics)
    return getattr(batch_norm, "_use_global_stats", None) is False


def _channel_count(layer: nn.Layer) -> int:
    axis = PTQRegistry.layer_info(layer).quant_axis
    return int(layer.weight.shape[axis]) * (layer._groups if isinstance(layer, TRANSPOSED) else 1)


def fold_batch_norm(layer: nn.Layer, batch_norm: nn.Layer) -> None:
    """Changes the layer's weight and bias so that it computes what the two computed in eval mode.

    The arithmetic is float64, rounded once to the weight's dtype.

    Raises:
        FuseError: the pair cannot be folded.
    """
    reason = why_not_foldable(layer, batch_norm)
    if reason:
        raise FuseError(f"{layer.full_name()} and {batch_norm.full_name()} cannot be folded: {reason}")
    mean, variance = _float64(batch_norm._mean), _float64(batch_norm._variance)
    gamma = np.ones_like(mean) if batch_norm.weight is None else _float64(batch_norm.weight)
    beta = np.zeros_like(mean) if batch_norm.bias is None else _float64(batch_norm.bias)
    factor = gamma / np.sqrt(variance + batch_norm._epsilon)
    weight = _float64(layer.weight) * _along_channels(layer, factor)
    bias = np.zeros_like(mean) if layer.bias is None else _float64(layer.bias)
    layer.weight = _parameter(layer, weight)
    layer.bias = _parameter(layer, (bias - mean) * factor + beta)


def activation_of(batch_norm: nn.Layer) -> nn.Layer:
    """What stays of a batch norm that can be folded: its own activation (``nn.BatchNorm(act="relu")``), or nothing."""
    return ACTIVATIONS.get(_activation_name(batch_norm), nn.Identity)()


def _activation_name(batch_norm: nn.Layer) -> str:
    return getattr(batch_norm, "_act", None) or ""


def _along_channels(layer: nn.Layer, factor: np.ndarray) -> np.ndarray:
    """``factor`` of shape [out channels], shaped to multiply the layer's weight."""
    rank = layer.weight.ndim
    if isinstance(layer, TRANSPOSED):
        # weight [in, out / groups, ...]: rows of group g make output channels g * out / groups and on
        groups, inputs = layer._groups, layer.weight.shape[0]
        rows = np.repeat(factor.reshape(groups, -1), inputs // groups, axis=0)
        return rows.reshape(inputs, -1, *[1] * (rank - 2))
    shape = [-1 if axis == PTQRegistry.layer_info(layer).quant_axis else 1 for axis in range(rank)]
    return factor.reshape(shape)


def _float64(tensor: paddle.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().astype("float64").numpy())


def _parameter(layer: nn.Layer, value: np.ndarray) -> paddle.Tensor:
    """A new parameter: the old one may be shared with a layer that is not folded."""
    tensor = paddle.to_tensor(value).astype(layer.weight.dtype)
    parameter = layer.create_parameter(tensor.shape, dtype=layer.weight.dtype, default_initializer=nn.initializer.Constant(0.0))
    parameter.set_value(tensor)
    parameter.stop_gradient = layer.weight.stop_gradient
    return parameter
