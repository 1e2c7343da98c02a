"""Quantized embedding."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

from .base import QuantizedLayer, in_dtype_of_weight, stored_parts
from .block_weight import BlockLayout

__all__ = ["QuantizedEmbedding"]


class QuantizedEmbedding(QuantizedLayer, nn.Embedding):  # type: ignore[misc]
    """`paddle.nn.Embedding` with an integer weight; its input, token ids, is taken as it is."""

    float_class = nn.Embedding

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As `paddle.nn.Embedding`, on the weight's grid; of up to 8 bits only the rows that ``x`` names are dequantized."""
        # with max_norm Paddle scales rows down in the whole weight; and it has no look-up in int16
        layout = self._layouts.get("weight")
        is_by_columns = isinstance(layout, BlockLayout) and layout.axis != 0  # tied to a layer with other rows
        if self._max_norm is not None or self._weight_bits > 8 or is_by_columns:
            return nn.Embedding.forward(self, x)
        if layout is None:
            rows = F.embedding(x, self.weight_quantized, padding_idx=self._padding_idx).astype("float32")
            return in_dtype_of_weight(self, rows * self._looked_up(self.weight_scale, x))
        rows = layout.rows(*(self._looked_up(stored, x) for stored in stored_parts(self, "weight")))
        if self._padding_idx is not None:  # a code has no zero that would do for every row
            padding = self._padding_idx % self._num_embeddings  # -1 is the last
            rows = rows * (x != padding).astype("float32").unsqueeze(-1)
        return in_dtype_of_weight(self, rows)

    @staticmethod
    def _looked_up(stored: paddle.Tensor | None, x: paddle.Tensor) -> paddle.Tensor | None:
        """The rows of those ids; what all rows share is left as it is."""
        has_rows = stored is not None and stored.ndim == 2 and stored.shape[0] > 1
        return F.embedding(x, stored) if has_rows else stored
