"""A saved Paddle program as an ordinary layer."""

from __future__ import annotations

from .load import load_program
from .program import Program

__all__ = ["Program", "load_program"]
