"""Quantized embedding."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

from .base import QuantizedLayer, in_dtype_of_weight

__all__ = ["QuantizedEmbedding"]


class QuantizedEmbedding(QuantizedLayer, nn.Embedding):  # type: ignore[misc]
    """`paddle.nn.Embedding` with an integer weight; its input, token ids, is taken as it is."""

    float_class = nn.Embedding

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As `paddle.nn.Embedding`, on the weight's grid; of int8 only the rows that ``x`` names are dequantized."""
        # with max_norm Paddle scales rows down in the whole weight; and it has no look-up in int16
        if self._max_norm is not None or self._weight_bits > 8:
            return nn.Embedding.forward(self, x)
        rows = F.embedding(x, self.weight_quantized, padding_idx=self._padding_idx).astype("float32")
        has_scale_per_row = self.weight_scale.ndim > 0 and self.weight_scale.shape[0] > 1
        scale = F.embedding(x, self.weight_scale) if has_scale_per_row else self.weight_scale
        return in_dtype_of_weight(self, rows * scale)
