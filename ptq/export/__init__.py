"""Exporters: each writes one artifact format and checks what it wrote."""

from __future__ import annotations

from .jit import load

__all__ = ["load"]
