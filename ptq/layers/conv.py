"""Quantized convolutions."""

from __future__ import annotations

from paddle import nn

from .base import QuantizedLayer

__all__ = ["QuantizedConv1D", "QuantizedConv2D", "QuantizedConv3D"]


class QuantizedConv1D(QuantizedLayer, nn.Conv1D):  # type: ignore[misc]
    """`paddle.nn.Conv1D` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv1D


class QuantizedConv2D(QuantizedLayer, nn.Conv2D):  # type: ignore[misc]
    """`paddle.nn.Conv2D` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv2D


class QuantizedConv3D(QuantizedLayer, nn.Conv3D):  # type: ignore[misc]
    """`paddle.nn.Conv3D` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv3D
