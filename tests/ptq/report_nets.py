"""Small nets for reports: sound ones, and such as were built to have one fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from models import data
from paddle import nn

import ptq
from ptq import PTQConfig
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

__all__ = ["ABSMAX", "ONE_RANGE", "Sound", "batches", "quantized", "report_of", "set_weight"]

IMAGE = (3, 8, 8)
ABSMAX = PTQConfig(AbsmaxQuantizer(symmetric=False), PerChannelAbsmaxQuantizer())
ONE_RANGE = PTQConfig(AbsmaxQuantizer(symmetric=False), PerChannelAbsmaxQuantizer(), per_channel_activations=False)


class Sound(nn.Layer):
    """Three convolutions, one of them depthwise, an addition with a shortcut, two blocks and Linear; nothing is wrong with it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8)
        self.block = nn.Sequential(nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.Hardswish(), nn.Conv2D(8, 8, 1))
        self.head = nn.LayerDict({"fc": nn.Linear(8, 5)})

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = self.block(x)
        x = x + F.relu(x)
        return self.head["fc"](F.adaptive_avg_pool2d(x, 1).flatten(1))


def batches(count: int = 2, size: int = 16, scale: float = 1.0, seed: int = 0) -> list[paddle.Tensor]:
    """Batches of standard normal pictures."""
    return [data(size, *IMAGE, seed=seed + number) * scale for number in range(count)]


def set_weight(layer: Any, change: Any) -> None:
    """Changes a layer's weight: ``change`` of the array gives the new one."""
    layer.weight.set_value(np.ascontiguousarray(change(layer.weight.numpy().copy()), dtype="float32"))


def quantized(model: nn.Layer, config: PTQConfig | None = None, *, calibration: Any = None, **options: Any) -> ptq.QuantizeResult:
    """The model quantized on its own kind of data, by abs-max unless told otherwise."""
    model.eval()
    found = batches(4) if calibration is None else calibration
    return ptq.quantize_model(model, found, ABSMAX if config is None else config, progress=False, **options)


def report_of(model: nn.Layer, config: PTQConfig | None = None, *, on: Any = None, calibration: Any = None, **options: Any) -> ptq.Report:
    """The report of such a model on other data of the same kind; nothing is written."""
    settings: Mapping[str, Any] = {name: options.pop(name) for name in ("profile", "metric", "compare") if name in options}
    result = quantized(model, config, calibration=calibration, **options)
    return ptq.report(result, batches(2, seed=50) if on is None else on, path=None, **settings)
