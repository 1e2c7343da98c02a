"""What the numbers and dtypes of a model's parameters tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import paddle
from paddle import nn

from quantizers import as_float_array

from ...registry import PTQRegistry
from .report import Finding

__all__ = ["weights"]

COMPLEX = (paddle.complex64, paddle.complex128)
HALF = (paddle.float16, paddle.bfloat16)


def weights(model: nn.Layer) -> Iterator[Finding]:
    """Findings on parameters and buffers: NaN and Inf, channels of zeros, nothing learned, dtypes."""
    skipped = set(_skipped(model))
    for name, layer in model.named_sublayers(include_self=True):
        quantized = {}
        if PTQRegistry.is_supported_layer(layer) and name not in skipped:
            info = PTQRegistry.layer_info(layer)
            quantized = info.weights_of(layer) if info.weight_names else {}
            for key, weight in quantized.items():
                yield from _dtype(name, key, weight)
                yield from _values(name, key, weight, info.quant_axis or 0)
        for key, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None and key not in quantized and tensor.is_floating_point() and tensor.size and not _is_finite(tensor):
                message = f"its {key} holds NaN or Inf: the layer's answers, and the ranges calibrated on them, will too"
                yield Finding("warning", name, "non-finite", message, "load trained weights, or find where training diverged")


def _skipped(model: nn.Layer) -> Iterator[str]:
    for name, layer in model.named_sublayers(include_self=True):
        if getattr(layer, "skip_quant", False) is True:
            for inner, _ in layer.named_sublayers(include_self=True):
                yield f"{name}.{inner}" if name and inner else name or inner


def _is_finite(tensor: paddle.Tensor) -> bool:
    array = as_float_array(tensor, where="a parameter")
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _dtype(name: str, key: str, weight: paddle.Tensor) -> Iterator[Finding]:
    dtype = str(weight.dtype).rpartition(".")[2]
    if weight.dtype in COMPLEX:
        advice = "leave the layer float with skip_quant = True"
        yield Finding("error", name, "complex-weight", f"its {key} is {dtype}, for which there is no integer grid", advice)
    elif weight.dtype in HALF and weight.place.is_cpu_place():
        message = f"its {key} is {dtype}, in which Paddle's CPU kernels cannot compute convolutions and Linear"
        yield Finding("warning", name, "half-on-cpu", message, "model.float() before quantize, or calibrate on a GPU")
    elif weight.dtype == paddle.float64:
        message = "its weight is float64; grids are float32, and so is the precision of the quantized layer"
        yield Finding("info", name, "float64", message, "model.float() before quantize gives the same answers faster")


def _values(name: str, key: str, weight: paddle.Tensor, axis: int) -> Iterator[Finding]:
    if not weight.size:
        message = f"its {key} has shape {list(weight.shape)} and no elements"
        yield Finding("error", name, "empty-weight", message, "leave the layer float with skip_quant = True, or remove it")
        return
    if weight.dtype in COMPLEX:
        return
    array = as_float_array(weight, where=f"layer '{name}' {key}")
    others = tuple(other for other in range(array.ndim) if other != axis)
    low, high = array.min(axis=others), array.max(axis=others)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        channels = int((~np.isfinite(low) | ~np.isfinite(high)).sum())
        message = f"its {key} holds NaN or Inf, in {channels} of {low.size} output channels"
        yield Finding("error", name, "non-finite-weight", message, "load trained weights, or leave the layer float with skip_quant = True")
    elif array.size > 1 and low.min() == high.max():
        message = f"every number of its {key} is {float(low.min()):g}: it looks as if nothing had been loaded"
        yield Finding("warning", name, "constant-weight", message, "load trained weights")
    elif zeros := int(((low == 0) & (high == 0)).sum()):
        message = f"{zeros} of {low.size} output channels have nothing but zeros for weights, and give their bias alone"
        yield Finding("info", name, "zero-channels", message, "nothing; pruning them makes the model smaller")
