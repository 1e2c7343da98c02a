"""Summaries of the current batch's tensors, so that a tensor that leaves one layer and enters the next is scanned once."""

from __future__ import annotations

import weakref
from typing import Any

import paddle

from quantizers import StatisticsQuantizer, SummarySettings, TensorSummary

__all__ = ["SummaryCache"]


class SummaryCache:
    """Summaries of the current batch's tensors: an output that is the next layer's input is scanned once."""

    def __init__(self) -> None:
        self.is_open = False
        self._entries: dict[tuple[int, SummarySettings], tuple[Any, int, TensorSummary]] = {}

    def __deepcopy__(self, memo: Any) -> SummaryCache:
        return SummaryCache()

    def __reduce__(self) -> Any:
        return SummaryCache, ()

    def clear(self) -> None:
        """Forgets the last batch; before the first one nothing is kept, for then nobody would clear it."""
        self.is_open = True
        self._entries.clear()

    def summary(self, tensor: paddle.Tensor, quantizer: StatisticsQuantizer, items: int | None, where: str) -> TensorSummary:
        """The tensor's summary with the quantizer's settings; scanned again when the tensor was changed in place."""
        settings = quantizer.summary_settings
        key = (id(tensor), settings)
        entry = self._entries.get(key) if self.is_open else None
        if entry is not None and entry[0]() is tensor and entry[1] == tensor.inplace_version:
            return entry[2]
        summary = TensorSummary.of(tensor, items=items, bins=settings.bins, max_samples_per_item=settings.max_samples_per_item, where=where)
        self._entries[key] = (weakref.ref(tensor), tensor.inplace_version, summary)
        return summary
