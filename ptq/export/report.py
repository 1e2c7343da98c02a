"""What a runtime made of an artifact: how close its answers are, and which compute layers it runs in int8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Kernel", "RuntimeReport"]


@dataclass(frozen=True)
class Kernel:
    """One compute operation (convolution, fully connected, matrix product) as a runtime executed it.

    ``name``: the operation's name in the artifact; ``op``: its type there; ``kernel``: what the runtime calls its implementation;
    ``reason``: why it is not int8, empty when it is.
    """

    name: str
    op: str
    kernel: str
    is_int8: bool
    reason: str = ""


@dataclass(frozen=True)
class RuntimeReport:
    """One runtime's answer to the self-check of one artifact.

    ``sqnr_db``: output of the runtime against the model in memory, in dB (``inf`` when equal); ``kernels``: every compute operation;
    ``notes``: what else a reader should know, such as where rounding flipped; ``mismatch``: what it computes differently from the model,
    empty where the check passed.
    """

    runtime: str
    sqnr_db: float
    kernels: tuple[Kernel, ...]
    notes: Sequence[str] = ()
    mismatch: str = ""

    @property
    def int8_share(self) -> float:
        """Share of the compute operations that run in int8; 1.0 when there are none."""
        return sum(kernel.is_int8 for kernel in self.kernels) / len(self.kernels) if self.kernels else 1.0

    def lines(self) -> list[str]:
        """The report for people: counts by type, then what stayed float and why."""
        total = Counter(kernel.op for kernel in self.kernels)
        int8 = Counter(kernel.op for kernel in self.kernels if kernel.is_int8)
        counts = ", ".join(f"{int8[op]}/{count} {op}" for op, count in sorted(total.items())) or "no compute layer"
        floats = [
            f"  float: {kernel.name} ({kernel.op}, {kernel.kernel}): {kernel.reason}" for kernel in self.kernels if not kernel.is_int8
        ]
        failed = [f"  THE CHECK FAILED: {self.mismatch}"] if self.mismatch else []
        return [f"{self.runtime}: int8 {counts}; {self.sqnr_db:.1f} dB against the model in memory", *floats, *self.notes, *failed]
