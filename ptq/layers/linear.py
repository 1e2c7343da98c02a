"""Quantized fully connected layer."""

from __future__ import annotations

import paddle
from paddle import nn

from .base import QuantizedLayer

__all__ = ["QuantizedLinear"]


class QuantizedLinear(QuantizedLayer, nn.Linear):  # type: ignore[misc]
    """`paddle.nn.Linear` with an integer weight and a fake-quantized input."""

    float_class = nn.Linear

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:  # Paddle's own name for it
        """As `paddle.nn.Linear`, on the grids of weight and input."""
        if self.dynamic is not None:
            return self.dynamic_forward(input)
        return nn.Linear.forward(self, self.quantize_input(input))
