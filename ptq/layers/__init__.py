"""The quantized twins, and the list of every layer that the engine knows."""

from __future__ import annotations

from typing import Any

from paddle import nn
from paddle.nn import quant

from ..registry import LayerInfo, PTQRegistry
from .activation_grid import ActivationGrid, QuantizedActivation
from .base import GridInput, QuantizedLayer, fake_quantize
from .conv import QuantizedConv1D, QuantizedConv2D, QuantizedConv3D
from .conv_transpose import QuantizedConv1DTranspose, QuantizedConv2DTranspose, QuantizedConv3DTranspose
from .embedding import QuantizedEmbedding
from .functional import FloatFunctional
from .integer_weight import IntegerWeight
from .linear import QuantizedLinear
from .recurrent import (
    QuantizedGRU,
    QuantizedGRUCell,
    QuantizedLSTM,
    QuantizedLSTMCell,
    QuantizedSimpleRNN,
    QuantizedSimpleRNNCell,
    is_one_operator,
)

__all__ = [
    "ActivationGrid",
    "FloatFunctional",
    "GridInput",
    "IntegerWeight",
    "QuantizedActivation",
    "QuantizedConv1D",
    "QuantizedConv1DTranspose",
    "QuantizedConv2D",
    "QuantizedConv2DTranspose",
    "QuantizedConv3D",
    "QuantizedConv3DTranspose",
    "QuantizedEmbedding",
    "QuantizedGRU",
    "QuantizedGRUCell",
    "QuantizedLSTM",
    "QuantizedLSTMCell",
    "QuantizedLayer",
    "QuantizedLinear",
    "QuantizedSimpleRNN",
    "QuantizedSimpleRNNCell",
    "fake_quantize",
]

# The twin and the axis of the weight that holds its output channels.  A transposed convolution stores [in, out / groups, ...]:
# its groups share out / groups scales.
SIMULATED = {
    QuantizedConv1D: 0,
    QuantizedConv2D: 0,
    QuantizedConv3D: 0,
    QuantizedConv1DTranspose: 1,
    QuantizedConv2DTranspose: 1,
    QuantizedConv3DTranspose: 1,
}
RECURRENT = (QuantizedSimpleRNN, QuantizedLSTM, QuantizedGRU)
CELLS = (QuantizedSimpleRNNCell, QuantizedLSTMCell, QuantizedGRUCell)
NONNEGATIVE_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid)
SIGNED_ACTIVATIONS = (nn.LeakyReLU, nn.PReLU, nn.Hardswish, nn.Swish, nn.Silu, nn.GELU, nn.Tanh)
BATCH_NORMS = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
POOLS = (
    *(nn.AvgPool1D, nn.AvgPool2D, nn.AvgPool3D, nn.MaxPool1D, nn.MaxPool2D, nn.MaxPool3D),
    *(nn.AdaptiveAvgPool1D, nn.AdaptiveAvgPool2D, nn.AdaptiveAvgPool3D),
    *(nn.AdaptiveMaxPool1D, nn.AdaptiveMaxPool2D, nn.AdaptiveMaxPool3D),
    *(nn.LPPool1D, nn.LPPool2D, nn.FractionalMaxPool2D, nn.FractionalMaxPool3D),
    *(nn.MaxUnPool1D, nn.MaxUnPool2D, nn.MaxUnPool3D),
)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1D, nn.InstanceNorm2D, nn.InstanceNorm3D, nn.LocalResponseNorm)
RESAMPLERS = (nn.Upsample, nn.UpsamplingBilinear2D)
PADS = (nn.Pad1D, nn.Pad2D, nn.Pad3D)  # what they add may be any number
MOVERS = (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unflatten, nn.UpsamplingNearest2D, nn.ZeroPad2D)
DROPOUTS = (nn.Dropout, nn.Dropout2D, nn.Dropout3D, nn.AlphaDropout)
TRANSPARENT = (nn.Identity, nn.Flatten, *DROPOUTS, *MOVERS)
BINARY = (quant.add, quant.subtract, quant.multiply, quant.divide, quant.matmul)
UNARY = (quant.reshape, quant.transpose, quant.concat, quant.flatten)


def _recurrent(layer: type[nn.Layer], *weights: str, **facts: Any) -> LayerInfo:
    return LayerInfo(layer, ["Input"], ["WeightList"], ["Out"], quant_axis=0, weights=weights, **facts)


def _register_all() -> None:
    for twin, axis in SIMULATED.items():
        PTQRegistry.register(LayerInfo(twin.float_class, ["Input"], ["Filter"], ["Output"], quant_axis=axis), twin=twin)
    PTQRegistry.register(LayerInfo(nn.Linear, ["X"], ["Y"], ["Out"], quant_axis=1), twin=QuantizedLinear)
    embedding = LayerInfo(nn.Embedding, ["Ids"], ["W"], ["Out"], quant_axis=0, weight_only=True)
    PTQRegistry.register(embedding, twin=QuantizedEmbedding)
    for twin in CELLS:
        PTQRegistry.register(_recurrent(twin.float_class, "weight_ih", "weight_hh"), twin=twin)
    for twin in RECURRENT:
        info = _recurrent(twin.float_class, "weight_ih_*", "weight_hh_*", whole=True, applies_to=is_one_operator)
        PTQRegistry.register(info, twin=twin)
    for layer in NONNEGATIVE_ACTIVATIONS:
        PTQRegistry.register(LayerInfo(layer, ["X"], [], ["Out"], activation=True, nonnegative=True))
    for layer in SIGNED_ACTIVATIONS:
        PTQRegistry.register(LayerInfo(layer, ["X"], [], ["Out"], activation=True))
    for layer in BATCH_NORMS:
        PTQRegistry.register(LayerInfo(layer, ["X"], [], ["Y"]))
    for layer in (*POOLS, *NORMS, *RESAMPLERS, *PADS, *UNARY):
        PTQRegistry.register(LayerInfo(layer, ["X"], [], ["Out"]))
    PTQRegistry.register(LayerInfo(nn.Softmax, ["X"], [], ["Out"], nonnegative=True))
    for layer in TRANSPARENT:
        PTQRegistry.register(LayerInfo(layer, ["X"], [], ["Out"], transparent=True))
    PTQRegistry.register(LayerInfo(ActivationGrid, ["X"], [], ["Out"]), twin=QuantizedActivation)
    for layer in (*BINARY, FloatFunctional):
        PTQRegistry.register(LayerInfo(layer, ["X", "Y"], [], ["Out"]))


_register_all()
