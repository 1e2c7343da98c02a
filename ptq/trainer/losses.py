"""Losses of logits ``[n, classes, ...]`` and labels ``[n, ...]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it

from quantizers.errors import ConfigError

from .named import make
from .settings import typed

__all__ = ["LOSSES", "Losses", "made_losses"]

Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]


class CrossEntropyLoss:
    """Mean over what counts; ``weight``: one number a class."""

    def __init__(self, ignore_index: int = 255, weight: Sequence[float] | None = None) -> None:
        self.ignore_index = ignore_index
        self.weight = None if weight is None else paddle.to_tensor(list(weight), dtype="float32")

    def __call__(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        return F.cross_entropy(logits, labels, weight=self.weight, ignore_index=self.ignore_index, axis=1)


class OhemCrossEntropyLoss:
    """Mean over the elements that are hard: those whose probability is below ``thresh``, at least ``min_kept`` of them."""

    def __init__(self, thresh: float = 0.7, min_kept: int = 10000, ignore_index: int = 255) -> None:
        self.limit = -float(paddle.log(paddle.to_tensor(float(thresh))))
        self.min_kept, self.ignore_index = min_kept, ignore_index

    def __call__(self, logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        each = F.cross_entropy(logits, labels, ignore_index=self.ignore_index, axis=1, reduction="none").flatten()
        counted = (labels.flatten() != self.ignore_index).astype(each.dtype)
        kept = min(self.min_kept, each.size)
        limit = min(self.limit, float(paddle.topk(each, kept)[0][-1])) if kept else self.limit
        hard = (each >= limit).astype(each.dtype) * counted
        return (each * hard).sum() / paddle.clip(hard.sum(), min=1.0)


LOSSES: Mapping[str, Callable[..., Loss]] = {kind.__name__: kind for kind in (CrossEntropyLoss, OhemCrossEntropyLoss)}


class Losses:
    """One loss for each output of a model, weighted."""

    def __init__(self, kinds: Sequence[Loss], coefficients: Sequence[float]) -> None:
        self.kinds, self.coefficients = list(kinds), list(coefficients)

    def __call__(self, outputs: Any, labels: paddle.Tensor) -> paddle.Tensor:
        """The sum over outputs; raises ``ConfigError`` for another number of them than of losses, or sizes that are not the labels'."""
        logits = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        if len(logits) < len(self.kinds):
            raise ConfigError(f"loss: there are {len(self.kinds)} types for a model with {len(logits)} outputs")
        for item in logits:
            if list(item.shape[2:]) != list(labels.shape[1:]):
                raise ConfigError(f"loss: the model's output has shape {item.shape}, the labels {labels.shape}: sizes must agree")
        total = paddle.zeros([])
        for item, kind, weight in zip(logits, self.kinds, self.coefficients, strict=False):
            total = total + weight * kind(item, labels)
        return total


def made_losses(values: Any) -> Losses:
    """The losses of the section ``loss``: ``types`` and ``coef``."""
    if not isinstance(values, Mapping) or not isinstance(values.get("types"), list) or not values["types"]:
        raise ConfigError(f"loss must be a section with types, a list, got {values!r:.100}")
    kinds = []
    for number, item in enumerate(values["types"]):
        kind, arguments = typed(item, f"loss.types[{number}]")
        kinds.append(make(kind, arguments, LOSSES, f"loss.types[{number}]"))
    coefficients = values.get("coef", [1.0] * len(kinds))
    if not isinstance(coefficients, list) or len(coefficients) != len(kinds):
        raise ConfigError(f"loss.coef must have one number for each of {len(kinds)} types, got {coefficients!r:.100}")
    return Losses(kinds, [float(value) for value in coefficients])
