"""PaddleSlim's names and arguments, for scripts that were written for it; on Paddle 3, and on programs in both formats."""

from __future__ import annotations

from .aware import convert, quant_aware
from .embedding import quant_embedding
from .post_dynamic import quant_post_dynamic
from .post_static import quant_post_static

__all__ = ["convert", "quant_aware", "quant_embedding", "quant_post_dynamic", "quant_post_static"]
