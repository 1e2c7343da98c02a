"""Post-training quantization for PaddlePaddle: calibrate a trained `paddle.nn.Layer`, convert it, save it, load it."""

from __future__ import annotations

from . import distributed
from .calibrate import calibrate
from .calibration import Calibration
from .config import PTQConfig, default_ptq_config
from .export import load
from .imperative import ImperativePTQ
from .layers import FloatFunctional
from .registry import LayerInfo, PTQRegistry

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "FloatFunctional",
    "ImperativePTQ",
    "LayerInfo",
    "PTQConfig",
    "PTQRegistry",
    "calibrate",
    "default_ptq_config",
    "distributed",
    "load",
]
