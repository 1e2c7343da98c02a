"""Training from a configuration file, as PaddleSeg has it: data, transforms, loss, optimizer, schedule, validation, states on disk."""

from __future__ import annotations

from .build import Setup, read_setup
from .evaluate import evaluate
from .loop import TrainOptions, train
from .prepared import float_model, prepared_model
from .saved import export

__all__ = ["Setup", "TrainOptions", "evaluate", "export", "float_model", "prepared_model", "read_setup", "train"]
