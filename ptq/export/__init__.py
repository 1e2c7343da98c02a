"""Exporters: each writes one artifact format and checks what it wrote."""

from __future__ import annotations

from .inference.export import export_inference
from .inference.predictor import create_int8_predictor
from .jit.program import load
from .onnx.export import export_onnx
from .report import Kernel, RuntimeReport

__all__ = ["Kernel", "RuntimeReport", "create_int8_predictor", "export_inference", "export_onnx", "load"]
