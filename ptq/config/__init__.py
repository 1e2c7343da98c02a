"""What to quantize with, and what differs for some layers."""

from __future__ import annotations

from .config import PLACEMENTS, PTQConfig, check_quantizer, default_ptq_config

__all__ = ["PLACEMENTS", "PTQConfig", "check_quantizer", "default_ptq_config"]
