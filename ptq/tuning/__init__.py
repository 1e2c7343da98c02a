"""Placement by measured time: which layers int8 makes slower in the runtime that the model is for."""

from __future__ import annotations

from .conditions import Conditions
from .report import TuningReport

__all__ = ["Conditions", "TuningReport"]
