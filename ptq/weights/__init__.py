"""Quantization by the weights alone, or with ranges that are found while the model runs."""

from __future__ import annotations

from .advise import Advice, advise
from .dynamic import quantize_dynamic
from .state.load import load_weights
from .weight_only import quantize_weights

__all__ = ["Advice", "advise", "load_weights", "quantize_dynamic", "quantize_weights"]
