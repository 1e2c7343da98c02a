"""Models that take sequences: tokens per second, and the time to the first token after so many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quantizers.errors import ConfigError

from .artifact import Input, read_artifact
from .measure import bench
from .report import BenchReport, Row, table

__all__ = ["SequenceReport", "bench_tokens"]

HEADER = (
    "runtime",
    "baseline",
    "tokens",
    "batch",
    "threads",
    "float tokens/s",
    "int8 tokens/s",
    "float first ms",
    "int8 first ms",
    "ratio",
)


@dataclass(frozen=True)
class SequenceReport:
    """A report for each number of tokens in a call.

    What a call takes is the time to the first token after a prompt of so many; without a cache each further one takes a call again.
    """

    reports: dict[int, BenchReport]

    def text(self) -> str:
        """The report of each number of tokens, then one table."""
        parts = [f"{tokens} tokens in a call\n\n{report.text()}" for tokens, report in self.reports.items()]
        rows = [_cells(tokens, row) for tokens, report in self.reports.items() for row in report.rows]
        return "\n\n".join([*parts, table(HEADER, rows)])

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values, each row with its tokens per second."""
        found = []
        for tokens, report in self.reports.items():
            for row, flat in zip(report.rows, report.flat_rows(), strict=True):
                speeds = {f"{kind} tokens per second": _per_second(row, tokens, ms) for kind, ms in _times(row)}
                found.append({"tokens": tokens, **speeds, **flat})
        return {"rows": found, "reports": {str(tokens): report.as_dict() for tokens, report in self.reports.items()}}


def bench_tokens(
    path: str | os.PathLike[str], float_path: str | os.PathLike[str] | None = None, *, tokens: Sequence[int], **options: Any
) -> SequenceReport:
    """`bench` with each number of tokens in the place of the free sizes behind the batch.

    Raises:
        ConfigError: the numbers are none, or the model was saved with fixed sizes.
        As `bench`.
    """
    if not isinstance(tokens, (list, tuple)) or not tokens or any(type(count) is not int or count < 1 for count in tokens):
        raise ConfigError(f"tokens must be a list of whole numbers of at least 1, got {tokens!r}")
    inputs = read_artifact(path).inputs
    if not any(size is None for item in inputs for size in item.shape[1:]):
        raise ConfigError(f"{path} was saved for fixed sizes: save it with a free second size to measure it with numbers of tokens")
    return SequenceReport(
        {count: bench(path, float_path, input_shapes=_shapes(inputs, count), **options) for count in dict.fromkeys(tokens)}
    )


def _shapes(inputs: Sequence[Input], tokens: int) -> list[list[int]]:
    return [[tokens if size is None else size for size in item.shape[1:]] for item in inputs]


def _times(row: Row) -> tuple[tuple[str, float], ...]:
    return ("float", row.speed.float_ms), ("int8", row.speed.int8_ms)


def _per_second(row: Row, tokens: int, milliseconds: float) -> float:
    return tokens * row.batch / milliseconds * 1e3


def _cells(tokens: int, row: Row) -> list[str]:
    speeds = [f"{_per_second(row, tokens, ms):.0f}" for _, ms in _times(row)]
    first = [f"{ms:.2f}" for _, ms in _times(row)]
    return [row.runtime, row.baseline, str(tokens), str(row.batch), str(row.threads), *speeds, *first, f"{row.speed.ratio:.2f}x"]
