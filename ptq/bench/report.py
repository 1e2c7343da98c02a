"""What was measured, as tables for people and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import paddle

from ..runtimes.cpu import Cpu
from ..runtimes.timing import Speed

__all__ = ["BenchReport", "Row", "RuntimeResult", "table"]


@dataclass(frozen=True)
class Row:
    """One comparison: runtime, float baseline, the int8 alternative against it, batch size, threads; why int8 is not faster, if so."""

    runtime: str
    baseline: str
    int8: str
    batch: int
    threads: int
    speed: Speed
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuntimeResult:
    """One runtime.

    ``float_bytes``, ``int8_bytes``: its files on disk; ``memory_mb``: how far the peak of a fresh process's memory rises while the model
    is loaded and run, by alternative, ``None`` where the system does not tell; ``skipped``: why nothing was measured.
    """

    name: str
    float_bytes: int
    int8_bytes: int
    rows: tuple[Row, ...] = ()
    memory_mb: Mapping[str, float | None] = field(default_factory=dict)
    skipped: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why int8 is not faster, at the fewest threads and there where it is slowest; empty when it is faster everywhere."""
        slow = [row for row in self.rows if row.reasons]
        return min(slow, key=lambda row: (row.threads, row.speed.ratio)).reasons if slow else ()


@dataclass(frozen=True)
class BenchReport:
    """All runtimes. ``cpu``: what was measured on; ``fixed_batch``: the only batch size that the model takes, ``None`` when it is free."""

    path: str
    float_path: str
    cpu: Cpu
    fixed_batch: int | None
    runtimes: tuple[RuntimeResult, ...]

    @property
    def rows(self) -> list[Row]:
        """The comparisons of all runtimes."""
        return [row for result in self.runtimes for row in result.rows]

    def text(self) -> str:
        """Tables of speed, size and memory, then what was skipped and why int8 is not faster."""
        parts = [
            f"{self.path} against {self.float_path}: CPU time for 1 thread, wall time for more; medians, and the quartiles of the ratio",
            table(_SPEED, [_speed_cells(row) for row in self.rows]),
            table(_SIZE, [cells for result in self.runtimes for cells in _size_cells(result)]),
        ]
        if self.cpu.saturates:
            parts.append(_PLAIN.format(cpu=self.cpu))
        if self.fixed_batch is not None:
            parts.append(f"the model was saved for a batch of {self.fixed_batch}, and is measured with no other")
        parts += [f"not measured: {result.name}: {result.skipped}" for result in self.runtimes if result.skipped]
        parts += [_why(result) for result in self.runtimes if result.reasons]
        return "\n\n".join(parts)

    def flat_rows(self) -> list[dict[str, Any]]:
        """One dict of plain values for each comparison."""
        return [_flat(row, result) for result in self.runtimes for row in result.rows]

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "path": self.path,
            "float_path": self.float_path,
            "paddle": paddle.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "cpu": self.cpu.name,
            "vnni": self.cpu.has_vnni,
            "fixed batch": self.fixed_batch,
            "rows": self.flat_rows(),
            "not measured": {result.name: result.skipped for result in self.runtimes if result.skipped},
            "why not faster": {result.name: list(result.reasons) for result in self.runtimes if result.reasons},
        }


_PLAIN = (
    "{cpu} has no VNNI: int8 is measured in the plain setting of each runtime, in which sums of 8-bit weights saturate here; "
    "in ONNX Runtime session.x64quantprecision=1 is right and slower, weights of 7 bits are right everywhere"
)
_SPEED = ("runtime", "baseline", "int8", "batch", "threads", "float ms", "int8 ms", "ratio", "quartiles", "rounds")
_SIZE = ("runtime", "baseline", "float MB on disk", "int8 MB on disk", "float peak MB", "int8 peak MB")


def _speed_cells(row: Row) -> list[str]:
    speed = row.speed
    figures = [f"{speed.float_ms:.2f}", f"{speed.int8_ms:.2f}", f"{speed.ratio:.2f}x", f"{speed.low:.2f}-{speed.high:.2f}"]
    return [row.runtime, row.baseline, row.int8, str(row.batch), str(row.threads), *figures, str(speed.rounds)]


def _size_cells(result: RuntimeResult) -> list[list[str]]:
    disk = [f"{size / 1e6:.2f}" for size in (result.float_bytes, result.int8_bytes)]
    pairs = dict.fromkeys((row.baseline, row.int8) for row in result.rows)
    return [[result.name, label, *disk, *(_mb(result.memory_mb.get(key)) for key in (label, int8))] for label, int8 in pairs]


def _mb(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _why(result: RuntimeResult) -> str:
    """A paragraph for each explanation, with the rows that it explains."""
    explained: dict[tuple[str, ...], list[Row]] = {}
    for row in result.rows:
        if row.reasons:
            explained.setdefault(row.reasons, []).append(row)
    parts = []
    for found, rows in explained.items():
        settings = "; ".join(_setting(row) for row in rows)
        parts.append("\n".join([f"{result.name}: int8 is not faster ({settings}), because", *(f"  - {reason}" for reason in found)]))
    return "\n".join(parts)


def _setting(row: Row) -> str:
    return f"{row.speed.ratio:.2f}x of {row.baseline} at batch {row.batch} with {row.threads} thread{'s' * (row.threads > 1)}"


def _flat(row: Row, result: RuntimeResult) -> dict[str, Any]:
    speed = row.speed
    return {
        "runtime": row.runtime,
        "baseline": row.baseline,
        "int8": row.int8,
        "batch": row.batch,
        "threads": row.threads,
        "clock": "CPU" if row.threads == 1 else "wall",
        "float ms": speed.float_ms,
        "int8 ms": speed.int8_ms,
        "ratio": speed.ratio,
        "ratio quartile 1": speed.low,
        "ratio quartile 3": speed.high,
        "rounds": speed.rounds,
        "float bytes": result.float_bytes,
        "int8 bytes": result.int8_bytes,
        "float peak MB": result.memory_mb.get(row.baseline),
        "int8 peak MB": result.memory_mb.get(row.int8),
        "why not faster": list(row.reasons),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, a line under the header."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
