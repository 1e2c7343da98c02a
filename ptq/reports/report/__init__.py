"""One page that says where int8 hurts, where it is slow, and what to do: `report`."""

from __future__ import annotations

from .call import report
from .content import Report

__all__ = ["Report", "report"]
