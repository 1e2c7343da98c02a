"""Post-training quantization for PaddlePaddle: calibrate a trained `paddle.nn.Layer`, convert it, save it, load it."""

from __future__ import annotations

from . import distributed
from .calibrate import calibrate
from .calibration import Calibration
from .config import PTQConfig, default_ptq_config
from .export import load
from .imperative import ImperativePTQ
from .layers import FloatFunctional
from .ledger import Ledger, coverage
from .overrides import QuantOverride
from .preflight import CheckReport, Finding, check
from .programs import load_program
from .registry import LayerInfo, PTQRegistry

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "CheckReport",
    "Finding",
    "FloatFunctional",
    "ImperativePTQ",
    "LayerInfo",
    "Ledger",
    "PTQConfig",
    "PTQRegistry",
    "QuantOverride",
    "calibrate",
    "check",
    "coverage",
    "default_ptq_config",
    "distributed",
    "load",
    "load_program",
]
