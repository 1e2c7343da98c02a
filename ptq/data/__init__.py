"""Calibration data from files and functions, as the command line names them."""

from __future__ import annotations
