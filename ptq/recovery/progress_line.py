"""One line on a terminal that says what is being done, and how far it is."""

from __future__ import annotations

import sys
import time

__all__ = ["ProgressLine"]

WIDTH = 24
PAUSE = 0.1  # seconds between two writes


class ProgressLine:
    """Called with what is done, and how many of how many parts are; silent where stderr is no terminal or ``enabled`` is false."""

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._last = 0.0
        self._length = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Writes the line anew."""
        if not self._enabled or time.monotonic() - self._last < PAUSE:
            return
        self._last = time.monotonic()
        filled = WIDTH * done // max(total, 1)
        text = f"{what} [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total}"
        print("\r" + text.ljust(self._length), end="", file=sys.stderr, flush=True)
        self._length = len(text)

    def clear(self) -> None:
        """Takes the line away."""
        if self._enabled and self._length:
            print("\r" + " " * self._length + "\r", end="", file=sys.stderr, flush=True)
            self._length = 0
