"""A real client: the three models of PP-OCRv4 quantized, handed to RapidOCR, and what it reads compared with float."""

from __future__ import annotations

from .demo import OcrReport, run_ocr

__all__ = ["OcrReport", "run_ocr"]
