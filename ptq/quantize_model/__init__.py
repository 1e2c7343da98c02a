"""One call from a model, or a saved program, and data to a quantized model that can be saved."""

from __future__ import annotations

from .report import QuantizeReport
from .result import QuantizeResult
from .run import quantize_model

__all__ = ["QuantizeReport", "QuantizeResult", "quantize_model"]
