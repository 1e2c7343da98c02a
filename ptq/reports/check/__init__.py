"""What stands in the way of quantizing a model, said before any work is done."""

from __future__ import annotations

from .check_model import check, refuse_or_warn, require_dynamic_mode
from .report import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check", "refuse_or_warn", "require_dynamic_mode"]
