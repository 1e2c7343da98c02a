"""The steps of a long call: each is announced and timed."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

__all__ = ["Steps"]


class Steps:
    """Announces steps on stderr, where that is a terminal and ``announce`` is true, and keeps their ``seconds`` by name."""

    def __init__(self, announce: bool) -> None:
        self.seconds: dict[str, float] = {}
        self._announce = announce and sys.stderr is not None and sys.stderr.isatty()

    @contextlib.contextmanager
    def __call__(self, name: str, detail: str = "") -> Iterator[None]:
        """Around the work of one step."""
        if self._announce:
            print(f"{name} {detail}".rstrip(), file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
