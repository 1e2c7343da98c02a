"""The three models of PP-OCRv4, from their saved programs to int8 ONNX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..config.config import PTQConfig
from ..export.onnx.export import ONNX_SUFFIX
from ..programs import load_program
from ..quantize_model import quantize_model
from .client import characters, programs
from .sensitive import costs, worst_layers

__all__ = ["FLOAT_SHARE", "Quantized", "quantize"]

FLOAT_SHARE = 0.4
ROLE_IN_PARTS = "recognition"  # the one that answers wrongly when all of it is int8
WIDTH = 320  # of the lines that are tried layer by layer


@dataclass(frozen=True)
class Quantized:
    """One model that was written: its file, how many layers were left float, and the share of multiply-accumulates in float, 0..1."""

    file: Path
    float_layers: int
    float_share: float


def quantize(role: str, batches: Sequence[np.ndarray[Any, Any]], folder: Path) -> Quantized:
    """Quantizes one model with placement ``full`` and writes ``folder/role.onnx``, checked in the runtimes that are installed.

    Recognition keeps the layers in float whose rounding changes its answers most, as measured on one of the batches, within
    ``FLOAT_SHARE`` of its multiply-accumulates.

    Args:
        role: a key of `client.MODELS`.
        batches: calibration data, float32 arrays.
        folder: exists.

    Raises:
        QuantizationError: as `quantize_model` and `QuantizeResult.save`.
    """
    program = load_program(programs()[role])
    chosen: list[str] = []
    metadata: Mapping[str, str] | None = None
    if role == ROLE_IN_PARTS:
        smallest = min(batches, key=lambda batch: batch.size)
        chosen = worst_layers(costs(program, smallest[..., :WIDTH]), FLOAT_SHARE)
        metadata = {"character": characters()}
    config = PTQConfig(placement="full", overrides=dict.fromkeys(chosen))
    result = quantize_model(program, [paddle.to_tensor(batch) for batch in batches], config, recipe=None)
    result.save(folder / role, formats=("onnx",), metadata=metadata, verbose=False)
    return Quantized(folder / f"{role}{ONNX_SUFFIX}", len(chosen), 1 - result.report.coverage.int8_share)
