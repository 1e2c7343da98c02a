"""Quantized fully connected layer."""

from __future__ import annotations

from paddle import nn

from .base import QuantizedLayer

__all__ = ["QuantizedLinear"]


class QuantizedLinear(QuantizedLayer, nn.Linear):  # type: ignore[misc]
    """`paddle.nn.Linear` with an integer weight and a fake-quantized input."""

    float_class = nn.Linear
