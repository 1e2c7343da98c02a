"""A progress bar where one can be shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["progress"]

T = TypeVar("T")


def progress(iterable: Iterable[T], total: int | None = None, description: str = "", enabled: bool = True) -> Iterable[T]:
    """``iterable``, with a progress bar on stderr when tqdm is installed and stderr is a terminal.

    Args:
        iterable: what to loop over.
        total: how many items it has; ``None`` for its length where it has one.
        description: shown before the bar.
        enabled: ``False`` never shows a bar.
    """
    if not enabled or sys.stderr is None or not sys.stderr.isatty():
        return iterable
    try:
        from tqdm import tqdm
    except ImportError:
        return iterable
    bar: Iterable[T] = tqdm(iterable, total=total, desc=description, file=sys.stderr)
    return bar
