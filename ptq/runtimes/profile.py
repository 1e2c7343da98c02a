"""Where a runtime spends its time and which kernels it uses, in the same words for all runtimes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["COMPUTE", "CONVERSION", "INT8", "OTHER", "Executed", "NodeTime", "OpTime", "Run", "int8_for", "is_int8", "summed"]

COMPUTE, CONVERSION, OTHER = "compute", "conversion", "other"
INT8 = "int8"

# One inference of an opened file.
Run = Callable[[], object]


@dataclass(frozen=True)
class Executed:
    """A kernel that a runtime used: its own name for it, whether it computes in int8, and its time in microseconds."""

    kernel: str
    is_int8: bool
    microseconds: float


@dataclass(frozen=True)
class NodeTime:
    """A kernel of one inference, in order of execution: names of what it computes, as far as the runtime tells them, and seconds."""

    names: tuple[str, ...]
    seconds: float


def int8_for(baseline: str) -> str:
    """Name of the int8 alternative that is run with the same settings as a baseline, where a runtime has several."""
    return f"{INT8}, {baseline}"


def is_int8(label: str) -> bool:
    """Whether that alternative runs the quantized artifact."""
    return label == INT8 or label.startswith(f"{INT8}, ")


@dataclass(frozen=True)
class OpTime:
    """All operations of one type and precision in one inference.

    ``kind``: ``"compute"`` (convolution, fully connected, matrix product), ``"conversion"`` (of precision or memory layout) or ``"other"``;
    ``op``: the runtime's name for the type; ``precision``: ``"int8"``, or what the runtime calls its float type.
    """

    kind: str
    op: str
    precision: str
    count: int
    seconds: float


def summed(operations: Sequence[tuple[str, str, str, float]], inferences: int) -> list[OpTime]:
    """One `OpTime` for each type, its time the median over the inferences: other programs stretch some of them.

    Args:
        operations: kind, op, precision and seconds of every execution, in order.
        inferences: in how many equal inferences they were.
    """
    size = max(1, len(operations) // inferences)
    parts = [operations[start : start + size] for start in range(0, size * inferences, size)]
    counts = Counter(item[:3] for item in operations)
    seconds = {key: statistics.median(sum(item[3] for item in part if item[:3] == key) for part in parts) for key in counts}
    return [OpTime(*key, max(1, round(count / inferences)), seconds[key]) for key, count in counts.items()]
