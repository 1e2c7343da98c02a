"""The coverage ledger: what of a model is quantized, what is not, and why."""

from __future__ import annotations

from .coverage import coverage
from .record import Ledger, Row

__all__ = ["Ledger", "Row", "coverage"]
