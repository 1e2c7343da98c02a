"""Pillow, the extra ``pictures``."""

from __future__ import annotations

from typing import Any

from ..util.extras import import_extra

__all__ = ["pillow"]


def pillow(part: str = "Image") -> Any:
    """The module ``PIL.<part>``.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    return import_extra(f"PIL.{part}", "pictures", "Pillow")
