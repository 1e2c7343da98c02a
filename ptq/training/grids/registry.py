"""Which grids there are, by the names that a config says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quantizers import AbsmaxQuantizer, BaseQuantizer, MSEQuantizer, PerChannelAbsmaxQuantizer, PerChannelMSEQuantizer

from .base import ActivationGridInTraining, GridInTraining
from .learned import LSQGrid, LSQPlusGrid, PACTGrid
from .observed import BatchGrid, FixedGrid, MovingAverageGrid, WindowGrid
from .weights import AbsMaxWeightGrid, LSQWeightGrid, MovingAverageWeightGrid, WeightGrid, WindowWeightGrid

__all__ = ["ACTIVATIONS", "WEIGHTS", "first_activation_rule", "first_weight_rule", "grid_settings"]

ACTIVATIONS: dict[str, type[ActivationGridInTraining]] = {
    "lsq": LSQGrid,
    "lsq+": LSQPlusGrid,
    "pact": PACTGrid,
    "moving_average_abs_max": MovingAverageGrid,
    "range_abs_max": WindowGrid,
    "abs_max": BatchGrid,
    "fixed": FixedGrid,
}
WEIGHTS: dict[str, type[WeightGrid]] = {
    "lsq": LSQWeightGrid,
    "abs_max": AbsMaxWeightGrid,
    "moving_average_abs_max": MovingAverageWeightGrid,
    "range_abs_max": WindowWeightGrid,
}
FIRST: dict[str, Callable[..., BaseQuantizer]] = {
    "lsq": lambda bits: MSEQuantizer(bits, symmetric=True),
    "lsq+": lambda bits: MSEQuantizer(bits, symmetric=False),
    "fixed": lambda bits: MSEQuantizer(bits, symmetric=False),
}


def first_activation_rule(kind: str, bits: int) -> BaseQuantizer:
    """The rule that gives a kind of activation grid its first range."""
    return FIRST[kind](bits) if kind in FIRST else AbsmaxQuantizer(bits)


def first_weight_rule(kind: str, bits: int, per_channel: bool) -> BaseQuantizer:
    """The same for weights."""
    if kind == "lsq":
        return PerChannelMSEQuantizer(bits) if per_channel else MSEQuantizer(bits)
    return PerChannelAbsmaxQuantizer(bits) if per_channel else AbsmaxQuantizer(bits)


def grid_settings(kind: type[GridInTraining], moving_rate: float, window_size: int) -> dict[str, Any]:
    """Arguments that a kind of grid takes besides rule and place."""
    known = {"rate": moving_rate, "size": window_size}
    return {name: known[name] for name in kind.setting_names}
