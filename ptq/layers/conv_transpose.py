"""Quantized transposed convolutions."""

from __future__ import annotations

from paddle import nn

from .base import QuantizedLayer

__all__ = ["QuantizedConv1DTranspose", "QuantizedConv2DTranspose", "QuantizedConv3DTranspose"]


class QuantizedConv1DTranspose(QuantizedLayer, nn.Conv1DTranspose):  # type: ignore[misc]
    """`paddle.nn.Conv1DTranspose` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv1DTranspose


class QuantizedConv2DTranspose(QuantizedLayer, nn.Conv2DTranspose):  # type: ignore[misc]
    """`paddle.nn.Conv2DTranspose` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv2DTranspose


class QuantizedConv3DTranspose(QuantizedLayer, nn.Conv3DTranspose):  # type: ignore[misc]
    """`paddle.nn.Conv3DTranspose` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv3DTranspose
