"""Quantization-aware training: ``ptq.qat.prepare(model, config)``, train as usual, ``ptq.qat.convert(model)``."""

from __future__ import annotations

from .training import Distillation, QATConfig, convert, freeze_batch_norms, joint_optimizer, prepare

__all__ = ["Distillation", "QATConfig", "convert", "freeze_batch_norms", "joint_optimizer", "prepare"]
