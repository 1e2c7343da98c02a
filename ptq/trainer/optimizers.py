"""Optimizers and schedules of learning rates, by PaddleSeg's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle.optimizer import lr

from quantizers.errors import ConfigError

from .named import make
from .settings import typed

__all__ = ["OPTIMIZERS", "SCHEDULES", "made_optimizer", "made_schedule"]


def _sgd(**arguments: Any) -> Any:
    """PaddleSeg's ``sgd`` is Momentum."""
    return paddle.optimizer.Momentum(**{"momentum": 0.9, **arguments})


OPTIMIZERS: Mapping[str, Callable[..., Any]] = {
    "sgd": _sgd,
    "momentum": paddle.optimizer.Momentum,
    "adam": paddle.optimizer.Adam,
    "adamw": paddle.optimizer.AdamW,
}


def _polynomial(learning_rate: float, decay_steps: int, end_lr: float = 0.0, power: float = 0.9) -> Any:
    return lr.PolynomialDecay(learning_rate, decay_steps, end_lr, power)


def _cosine(learning_rate: float, decay_steps: int, end_lr: float = 0.0) -> Any:
    return lr.CosineAnnealingDecay(learning_rate, decay_steps, end_lr)


def _pieces(boundaries: list[int], values: list[float]) -> Any:
    return lr.PiecewiseDecay(boundaries, values)


SCHEDULES: Mapping[str, Callable[..., Any]] = {"PolynomialDecay": _polynomial, "CosineAnnealingDecay": _cosine, "PiecewiseDecay": _pieces}


def made_schedule(values: Any, iters: int, learning_rate: float | None) -> Any:
    """The schedule of the section ``lr_scheduler``, which may name a ``warmup_iters`` and ``warmup_start_lr``.

    Args:
        values: the section; without one the rate stays.
        iters: of the whole training, the default of ``decay_steps``.
        learning_rate: takes the place of the section's.
    """
    if values is None:
        if learning_rate is None:
            raise ConfigError("lr_scheduler: the configuration has no schedule and no learning_rate")
        return learning_rate
    kind, arguments = typed(values, "lr_scheduler")
    warmup, start = int(arguments.pop("warmup_iters", 0)), float(arguments.pop("warmup_start_lr", 0.0))
    if kind.lower() != "piecewisedecay":
        arguments.setdefault("decay_steps", max(1, iters - warmup))
        if learning_rate is not None:
            arguments["learning_rate"] = learning_rate
    schedule = make(kind, arguments, SCHEDULES, "lr_scheduler")
    return schedule if not warmup else lr.LinearWarmup(schedule, warmup, start, schedule.base_lr)


def made_optimizer(values: Any, schedule: Any, parameters: list[paddle.Tensor]) -> Any:
    """The optimizer of the section ``optimizer`` for these parameters."""
    kind, arguments = typed(values if values is not None else {"type": "sgd"}, "optimizer")
    return make(kind, {**arguments, "learning_rate": schedule, "parameters": parameters}, OPTIMIZERS, "optimizer")
