"""Quantized transposed convolutions."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

from .base import QuantizedLayer

__all__ = ["QuantizedConv1DTranspose", "QuantizedConv2DTranspose", "QuantizedConv3DTranspose"]


class QuantizedConv1DTranspose(QuantizedLayer, nn.Conv1DTranspose):  # type: ignore[misc]
    """`paddle.nn.Conv1DTranspose` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv1DTranspose

    def forward(self, x: paddle.Tensor, output_size: Any = None) -> paddle.Tensor:
        """As `paddle.nn.Conv1DTranspose`, on the grids of weight and input."""
        return nn.Conv1DTranspose.forward(self, self.quantize_input(x), output_size)


class QuantizedConv2DTranspose(QuantizedLayer, nn.Conv2DTranspose):  # type: ignore[misc]
    """`paddle.nn.Conv2DTranspose` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv2DTranspose

    def forward(self, x: paddle.Tensor, output_size: Any = None) -> paddle.Tensor:
        """As `paddle.nn.Conv2DTranspose`, on the grids of weight and input."""
        return nn.Conv2DTranspose.forward(self, self.quantize_input(x), output_size)


class QuantizedConv3DTranspose(QuantizedLayer, nn.Conv3DTranspose):  # type: ignore[misc]
    """`paddle.nn.Conv3DTranspose` with an integer weight and a fake-quantized input."""

    float_class = nn.Conv3DTranspose

    def forward(self, x: paddle.Tensor, output_size: Any = None) -> paddle.Tensor:
        """As `paddle.nn.Conv3DTranspose`, on the grids of weight and input."""
        return nn.Conv3DTranspose.forward(self, self.quantize_input(x), output_size)
