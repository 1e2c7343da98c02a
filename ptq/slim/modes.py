"""Static and dynamic mode: the engine works in dynamic mode, scripts for PaddleSlim are in static mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import paddle

__all__ = ["as_it_was", "dynamic_mode"]


@contextlib.contextmanager
def dynamic_mode() -> Iterator[bool]:
    """Dynamic mode inside, the caller's mode afterwards; gives whether that was static mode."""
    static = not paddle.in_dynamic_mode()
    if static:
        paddle.disable_static()
    try:
        yield static
    finally:
        if static:
            paddle.enable_static()


@contextlib.contextmanager
def as_it_was(static: bool) -> Iterator[None]:
    """Static mode inside `dynamic_mode` where the caller was in it, for code of the caller's."""
    if static:
        paddle.enable_static()
    try:
        yield
    finally:
        if static:
            paddle.disable_static()
