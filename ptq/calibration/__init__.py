"""What calibration sees of a model, and how it sees it."""

from __future__ import annotations

from .calibration import Calibration

__all__ = ["Calibration"]
