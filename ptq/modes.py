"""Running a model in eval mode without leaving a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from paddle import nn

__all__ = ["eval_mode"]


@contextlib.contextmanager
def eval_mode(model: nn.Layer) -> Iterator[None]:
    """Every sublayer in eval mode, each put back as it was: a model may hold frozen parts whose mode differs from its own."""
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    try:
        for layer, _ in modes:
            layer.training = False
        yield
    finally:
        for layer, training in modes:
            layer.training = training
