"""A report as one HTML file: charts as SVG, words in English and Chinese, nothing fetched."""

from __future__ import annotations

from .page import page

__all__ = ["page"]
