"""Summaries of the current batch's tensors, so that a tensor that leaves one layer and enters the next is scanned once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import paddle

from quantizers import ItemRanges, StatisticsQuantizer, TensorSummary

__all__ = ["SummaryCache"]

T = TypeVar("T")

CHANNELS = 1  # the axis that channels are on unless a layer says otherwise


class SummaryCache:
    """Summaries of the current batch's tensors: an output that is the next layer's input is scanned once."""

    def __init__(self) -> None:
        self.is_open = False
        self._entries: dict[tuple[int, Hashable], tuple[Any, int, Any]] = {}

    def __deepcopy__(self, memo: Any) -> SummaryCache:
        return SummaryCache()

    def __reduce__(self) -> Any:
        return SummaryCache, ()

    def clear(self) -> None:
        """Forgets the last batch; before the first one nothing is kept, for then nobody would clear it."""
        self.is_open = True
        self._entries.clear()

    def summary(
        self, tensor: paddle.Tensor, quantizer: StatisticsQuantizer, items: int | None, where: str, axis: int | None = None
    ) -> TensorSummary:
        """The tensor's summary with the quantizer's settings; scanned again when the tensor was changed in place.

        ``axis``: of its channels, where their ranges are wanted too.
        """
        settings = quantizer.summary_settings

        def scanned() -> TensorSummary:
            channels = CHANNELS if axis is None and tensor.ndim > CHANNELS + 1 else axis  # who reads it may want those
            ranges = None if channels is None else self.ranges(tensor, channels, where)
            bins, most = settings.bins, settings.max_samples_per_item
            return TensorSummary.of(tensor, items=items, bins=bins, max_samples_per_item=most, where=where, ranges=ranges)

        return self._once(tensor, settings, scanned)

    def ranges(self, tensor: paddle.Tensor, axis: int, where: str) -> ItemRanges:
        """The ranges of the tensor's samples and channels."""
        place = axis % tensor.ndim if tensor.ndim else axis
        return self._once(tensor, place, lambda: ItemRanges.of(tensor, axis, where=where))

    def _once(self, tensor: paddle.Tensor, kind: Hashable, scanned: Callable[[], T]) -> T:
        key = (id(tensor), kind)
        entry = self._entries.get(key) if self.is_open else None
        if entry is not None and entry[0]() is tensor and entry[1] == tensor.inplace_version:
            found: T = entry[2]
            return found
        found = scanned()
        self._entries[key] = (weakref.ref(tensor), tensor.inplace_version, found)
        return found
