"""Quantization by the weights alone, or with ranges that are found while the model runs."""

from __future__ import annotations

from .quantize_dynamic import quantize_dynamic
from .quantize_weights import quantize_weights

__all__ = ["quantize_dynamic", "quantize_weights"]
