"""Post-training quantization for PaddlePaddle: calibrate a trained `paddle.nn.Layer`, convert it, save it, load it."""

from __future__ import annotations

from .config import PTQConfig, default_ptq_config
from .export import load
from .imperative import ImperativePTQ
from .layers import FloatFunctional
from .registry import LayerInfo, PTQRegistry

__version__ = "0.1.0"

__all__ = ["FloatFunctional", "ImperativePTQ", "LayerInfo", "PTQConfig", "PTQRegistry", "default_ptq_config", "load"]
