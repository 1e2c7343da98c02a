"""A small net on the workbench, for the tests of recoveries."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from models import absmax, calibrated
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from ptq.calibration.seen import Sample
from ptq.recovery.workbench import Workbench

__all__ = ["bench_of", "rows", "samples", "small_net"]


def small_net() -> nn.Layer:
    """A convolution, a depthwise one and a linear layer, with paddings and biases."""
    paddle.seed(3)
    net = nn.Sequential(
        nn.Conv2D(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2D(6, 6, 3, padding=1, groups=6),
        nn.ReLU(),
        nn.AvgPool2D(3),
        nn.Flatten(),
        nn.Linear(24, 5),
    )
    net.eval()
    return net


def samples(count: int = 10, batch: int = 8, seed: int = 1) -> list[Sample]:
    """Calls with pictures ``[batch, 3, 6, 6]``."""
    random = np.random.default_rng(seed)
    pictures = random.standard_normal((count, batch, 3, 6, 6)).astype("float32")
    return [Sample.of(((paddle.to_tensor(picture),), {})) for picture in pictures]


def bench_of(net: nn.Layer | None = None, config: PTQConfig | None = None, calls: list[Sample] | None = None, **options: Any) -> Workbench:
    """A net, its weights quantized to 4 bits unless the config says otherwise, with its calibration samples."""
    calls = samples() if calls is None else calls
    inputs = [call.call()[0][0] for call in calls]
    prepared = calibrated(small_net() if net is None else net, *inputs, config=absmax(8, 4) if config is None else config)
    return Workbench(ImperativePTQ().convert(prepared), calls, **options)


def rows(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Normal numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)
