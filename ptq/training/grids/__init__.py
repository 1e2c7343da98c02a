"""Grids in training: learned, observed, fixed, or a user's own; one idea a file."""

from __future__ import annotations

from .base import ActivationGridInTraining, GridInTraining
from .functions import FunctionGrid, WeightFunctionGrid, made_function
from .registry import ACTIVATIONS, WEIGHTS, first_activation_rule, first_weight_rule, grid_settings
from .weights import WeightGrid

__all__ = [
    "ACTIVATIONS",
    "WEIGHTS",
    "ActivationGridInTraining",
    "FunctionGrid",
    "GridInTraining",
    "WeightFunctionGrid",
    "WeightGrid",
    "first_activation_rule",
    "first_weight_rule",
    "grid_settings",
    "made_function",
]
