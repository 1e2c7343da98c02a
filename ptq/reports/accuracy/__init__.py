"""What int8 costs, layer by layer: each layer on float inputs, and all errors together."""

from __future__ import annotations

from .measure import Measured, measure
from .program_subject import ProgramSubject
from .records import Kernels, LayerRecord, TensorRecord, WeightRecord
from .subject import Subject
from .twin_subject import TwinSubject

__all__ = ["Kernels", "LayerRecord", "Measured", "ProgramSubject", "Subject", "TensorRecord", "TwinSubject", "WeightRecord", "measure"]
