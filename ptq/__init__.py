"""Post-training quantization for PaddlePaddle: calibrate a trained `paddle.nn.Layer`, convert it, save it, load it."""

from __future__ import annotations

from . import distributed, qat, slim
from .calibration.calibration import Calibration
from .calibration.run import calibrate
from .config.config import PTQConfig, default_ptq_config
from .config.overrides import QuantOverride
from .convert.convert import release
from .export import load
from .imperative import ImperativePTQ
from .layers import FloatFunctional
from .programs import load_program
from .quantize_model import QuantizeReport, QuantizeResult, quantize_model
from .recovery.sensitivity import Sensitivity, sensitivity
from .registry import LayerInfo, PTQRegistry
from .reports.check import CheckReport, Finding, check
from .reports.coverage import Ledger, coverage
from .reports.drift import Drift, Watch, watch
from .reports.report import Report, report
from .training import QAT, ImperativeQuantAware
from .weights import Advice, advise, load_weights, quantize_dynamic, quantize_weights

__version__ = "0.1.0"

__all__ = [
    "QAT",
    "Advice",
    "Calibration",
    "CheckReport",
    "Drift",
    "Finding",
    "FloatFunctional",
    "ImperativePTQ",
    "ImperativeQuantAware",
    "LayerInfo",
    "Ledger",
    "PTQConfig",
    "PTQRegistry",
    "QuantOverride",
    "QuantizeReport",
    "QuantizeResult",
    "Report",
    "Sensitivity",
    "Watch",
    "advise",
    "calibrate",
    "check",
    "coverage",
    "default_ptq_config",
    "distributed",
    "load",
    "load_program",
    "load_weights",
    "qat",
    "quantize_dynamic",
    "quantize_model",
    "quantize_weights",
    "release",
    "report",
    "sensitivity",
    "slim",
    "watch",
]
