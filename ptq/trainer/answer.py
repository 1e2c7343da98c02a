"""What an exported net answers: logits, probabilities or classes."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

__all__ = ["answering", "set_answer"]

ANSWERS = ("logits", "softmax", "argmax")


def answering(model: nn.Layer) -> nn.Layer:
    """Gives the net a class whose answer can be chosen by `set_answer` once it is quantized; logits until then."""
    base: Any = type(model)
    # a function of its own for every class: Paddle reads the names of the inputs from it
    forward = FunctionType(_Answering.forward.__code__, globals(), "forward")
    namespace = {
        "forward": forward,
        "logits_class": base,
        "__module__": base.__module__,
    }
    object.__setattr__(model, "chosen_answer", "logits")
    model.__class__ = type(base.__name__, (base,), namespace)
    return model


def set_answer(model: nn.Layer, answer: str) -> None:
    """``logits``, ``softmax`` over classes, or ``argmax``: int32 classes."""
    object.__setattr__(model, "chosen_answer", answer)


class _Answering:
    """Holds the ``forward`` of made classes under the name that Paddle's tracer looks for in the source."""

    def forward(self: Any, x: paddle.Tensor) -> paddle.Tensor:
        """What the net makes of pictures, in the form that was chosen."""
        output = self.logits_class.forward(self, x)
        return as_answer(output[0] if isinstance(output, (list, tuple)) else output, self.chosen_answer)


def as_answer(logits: paddle.Tensor, answer: str) -> paddle.Tensor:
    """Logits ``[n, classes, ...]`` in the form that was chosen."""
    if answer == "argmax":
        return logits.argmax(1).astype("int32")
    return F.softmax(logits, 1) if answer == "softmax" else logits
