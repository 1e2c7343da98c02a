"""How places in a model's forward are called, where a name is more than the path of a layer."""

from __future__ import annotations

__all__ = ["CALL_INPUT", "INPUT", "ROOT"]

INPUT = "input#"
"""Then the number of the tensor among the model's inputs."""

CALL_INPUT = ":input"
"""After a call site: the tensor that goes into it."""

ROOT = "output"
"""The site of a model that is itself one known layer."""
