"""A prepared model and its data, the same in every process, for the tests of calibration files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from models import small_net
from paddle import nn

from ptq import Calibration, ImperativePTQ, PTQConfig, calibrate
from ptq.calibration.file import Contents, to_bytes
from quantizers import BaseQuantizer, KLQuantizer


def samples(count: int = 12, seed: int = 0) -> np.ndarray:
    """float32 ``[count, 3, 8, 8]``, some of the values exact zeros of either sign."""
    values = np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype("float32")
    values[:, 0, 0] = np.float32([0.0, -0.0] * 4)
    return values * np.float32([1 + index % 5 for index in range(count)]).reshape(-1, 1, 1, 1)


def prepared(quantizer: BaseQuantizer | None = None, **options: Any) -> nn.Layer:
    """The same net whenever it is called, prepared for calibration."""
    paddle.seed(0)
    config = PTQConfig(KLQuantizer() if quantizer is None else quantizer)
    return ImperativePTQ(config).quantize(small_net(), inplace=True, **options)


def calibration(batches: Sequence[Any], quantizer: BaseQuantizer | None = None, **options: Any) -> Calibration:
    """What a model calibrated with the batches has seen."""
    return calibrate(prepared(quantizer, **options), batches, progress=False)


def file_bytes(found: Calibration) -> bytes:
    """The content of the file that `save` writes."""
    return to_bytes(Contents(found.layers, found.input_spec))


def thresholds(model: nn.Layer) -> dict[str, list[Any]]:
    """Thresholds and grids of a converted model by layer."""
    found = {}
    for layer in model.sublayers(include_self=True):
        config = getattr(layer, "_quant_config", None)
        if config is not None:
            for quantizer in (config.in_act_quantizer, config.out_act_quantizer):
                if quantizer.thresholds:
                    found[quantizer.name] = [quantizer.thresholds, quantizer.qparams]
    assert found
    return found


def rewritten(path: Path, data: bytes) -> Path:
    """A file with that content."""
    path.write_bytes(data)
    return path
