"""Quantization-aware training: a float model's layers on grids while it is trained, and the engine's twins in the end."""

from __future__ import annotations

from .config import QATConfig
from .convert import convert
from .distill import Distillation
from .drop_in import QAT, ImperativeQuantAware
from .norms import freeze_batch_norms
from .prepare import joint_optimizer, prepare

__all__ = ["QAT", "Distillation", "ImperativeQuantAware", "QATConfig", "convert", "freeze_batch_norms", "joint_optimizer", "prepare"]
