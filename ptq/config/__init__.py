"""What to quantize with, what differs for some layers, and what one layer gets."""

from __future__ import annotations

from .config import PLACEMENTS, PTQConfig, check_quantizer, default_ptq_config
from .scheme import LayerScheme, TensorScheme

__all__ = ["PLACEMENTS", "LayerScheme", "PTQConfig", "TensorScheme", "check_quantizer", "default_ptq_config"]
