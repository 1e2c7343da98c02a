"""When to write a state that costs time to write: seldom enough that writing stays a small share of the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["REST", "WritePace"]

REST = 20  # times as long as a write takes; so writing takes less than 5 % of a run

clock = time.perf_counter  # seconds; tests put another in its place


class WritePace:
    """After a write that took ``t`` seconds the next one is due ``REST * t`` seconds later; the first is due at once."""

    def __init__(self) -> None:
        self._next: float | None = None

    def is_due(self) -> bool:
        """Whether to write now."""
        return self._next is None or clock() >= self._next

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Enter it around a write; one that raises leaves the next due as it was."""
        start = clock()
        yield
        end = clock()
        self._next = end + REST * (end - start)
