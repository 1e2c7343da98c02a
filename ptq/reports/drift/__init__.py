"""Drift: whether the inputs of production still lie in the ranges of calibration."""

from __future__ import annotations

from .counts import Drift, TensorCounts
from .watch import Watch, watch

__all__ = ["Drift", "TensorCounts", "Watch", "watch"]
