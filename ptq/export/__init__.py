"""Exporters: each writes one artifact format and checks what it wrote."""

from __future__ import annotations

from .inference import export_inference
from .jit import load
from .onnx import export_onnx
from .predictor import create_int8_predictor
from .report import Kernel, RuntimeReport

__all__ = ["Kernel", "RuntimeReport", "create_int8_predictor", "export_inference", "export_onnx", "load"]
