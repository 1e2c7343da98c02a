"""The dataflow of a model: who feeds whom, functional operations included."""

from __future__ import annotations

from .dataflow import CallSite, Graph, Op

__all__ = ["CallSite", "Graph", "Op"]
