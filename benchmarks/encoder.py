"""A transformer encoder with random weights, as users write one: its speed does not depend on their values."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

__all__ = ["Encoder"]


class _Block(nn.Layer):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        hidden, width = self.norm1(x), x.shape[-1]
        parts = (layer(hidden) for layer in (self.query, self.key, self.value))
        query, key, value = (part.reshape([0, 0, self.heads, width // self.heads]).transpose([0, 2, 1, 3]) for part in parts)
        scores = F.softmax(paddle.matmul(query, key, transpose_y=True) * (width // self.heads) ** -0.5)
        x = x + self.out(paddle.matmul(scores, value).transpose([0, 2, 1, 3]).reshape([0, 0, width]))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Encoder(nn.Layer):
    """Pre-norm blocks; ``x`` float32 ``[batch, tokens, width]`` to the same."""

    def __init__(self, width: int = 768, layers: int = 6, heads: int = 12) -> None:
        super().__init__()
        self.blocks = nn.LayerList([_Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
