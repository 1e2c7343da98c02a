"""Calibration data from files and functions, as the command line names them: pictures, arrays, ``module:function``."""

from __future__ import annotations

from .source import DataOptions, open_data
from .takes import Takes

__all__ = ["DataOptions", "Takes", "open_data"]
