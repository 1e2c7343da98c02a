"""Speed truth: is the saved int8 model faster, where, by how much, and if not, why?"""

from __future__ import annotations

from .measure import bench
from .report import BenchReport

__all__ = ["BenchReport", "bench"]
