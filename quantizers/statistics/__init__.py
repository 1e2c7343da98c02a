"""From tensors to statistics: one pass, bounded memory."""

from __future__ import annotations

from quantizers.statistics.tensor import TensorStatistics

__all__ = ["TensorStatistics"]
