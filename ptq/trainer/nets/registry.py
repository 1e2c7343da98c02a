"""From the section ``model`` of a configuration to a net."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paddle import nn
from paddle.vision import models

from quantizers.errors import ConfigError

from ..named import make
from ..settings import typed
from .lite_seg import LiteSeg

__all__ = ["NETS", "made_model"]

NETS: Mapping[str, Callable[..., Any]] = {
    "LiteSeg": LiteSeg,
    "LeNet": models.LeNet,
    **{name: getattr(models, name) for name in models.__all__ if name[0].islower() and callable(getattr(models, name))},
}


def made_model(values: Any) -> nn.Layer:
    """The net of a section: one of `NETS` or ``module:function``; other keys are its arguments.

    Raises:
        ConfigError: there is no such net, or it is no layer.
    """
    kind, arguments = typed(values, "model")
    model = make(kind, arguments, NETS, "model")
    if not isinstance(model, nn.Layer):
        raise ConfigError(f"model: {kind} must make a paddle.nn.Layer, got {model!r:.100}")
    return model
