"""Quantized convolutions."""

from __future__ import annotations

import paddle
from paddle import nn

from .base import QuantizedLayer

__all__ = ["QuantizedConv1D", "QuantizedConv2D", "QuantizedConv3D"]


class QuantizedConv1D(QuantizedLayer, nn.Conv1D):  # type: ignore[misc]
    """`paddle.nn.Conv1D` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv1D

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As `paddle.nn.Conv1D`, on the grids of weight and input."""
        if self.dynamic is not None:
            return self.dynamic_forward(x)
        return nn.Conv1D.forward(self, self.quantize_input(x))


class QuantizedConv2D(QuantizedLayer, nn.Conv2D):  # type: ignore[misc]
    """`paddle.nn.Conv2D` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv2D

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As `paddle.nn.Conv2D`, on the grids of weight and input."""
        if self.dynamic is not None:
            return self.dynamic_forward(x)
        return nn.Conv2D.forward(self, self.quantize_input(x))


class QuantizedConv3D(QuantizedLayer, nn.Conv3D):  # type: ignore[misc]
    """`paddle.nn.Conv3D` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv3D

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As `paddle.nn.Conv3D`, on the grids of weight and input."""
        if self.dynamic is not None:
            return self.dynamic_forward(x)
        return nn.Conv3D.forward(self, self.quantize_input(x))
