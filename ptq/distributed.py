"""Calibration by several processes of `paddle.distributed`: the public name of `ptq.calibration.ranks`."""

from __future__ import annotations

from .calibration.ranks import synchronize

__all__ = ["synchronize"]
