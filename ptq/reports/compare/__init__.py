"""Two saved models held against each other on data: their answers, and layer by layer where both are programs of one net."""

from __future__ import annotations

from .compare import compare
from .report import CompareReport, Difference
from .saved import SavedModel, open_saved

__all__ = ["CompareReport", "Difference", "SavedModel", "compare", "open_saved"]
