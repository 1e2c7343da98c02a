"""Nets that a configuration can name: a small one for segmentation, and the classification nets of `paddle.vision`."""

from __future__ import annotations

from .registry import made_model

__all__ = ["made_model"]
