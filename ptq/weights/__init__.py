"""Quantization by the weights alone, or with ranges that are found while the model runs."""

from __future__ import annotations

from .quantize_dynamic import quantize_dynamic
from .quantize_weights import quantize_weights
from .state.load import load_weights

__all__ = ["load_weights", "quantize_dynamic", "quantize_weights"]
