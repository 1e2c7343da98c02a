"""A PP-LCNet in small whose channels differ in range as those of trained ones do, and nets for the corners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
from models import data
from paddle import nn

from ptq import ImperativePTQ, PTQConfig

__all__ = ["LCNet", "lcnet", "quantized", "spread", "sqnr"]

FACTOR = 300  # between the channels of one tensor


class Block(nn.Layer):
    """Depthwise, activation, 1 x 1, activation."""

    def __init__(self, inputs: int, outputs: int, act: Callable[..., Any]) -> None:
        super().__init__()
        self.dw, self.pw = nn.Conv2D(inputs, inputs, 3, padding=1, groups=inputs), nn.Conv2D(inputs, outputs, 1)
        self.act = act

    def forward(self, x: Any) -> Any:
        return self.act(self.pw(self.act(self.dw(x))))


class LCNet(nn.Layer):
    """Stem, three blocks, a pool, a Linear."""

    def __init__(self, act: Callable[..., Any] = F.hardswish) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2D(3, 8, 3, stride=2, padding=1), act
        self.blocks = nn.Sequential(Block(8, 16, act), Block(16, 16, act), Block(16, 24, act))
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Any) -> Any:
        return self.fc(F.adaptive_avg_pool2d(self.blocks(self.act(self.stem(x))), 1).flatten(1))


def spread(conv: nn.Layer, reader: nn.Layer, seed: int = 0) -> None:
    """Multiplies the results of a convolution by factors of 1 to `FACTOR`, and the depthwise weights that read them by the inverse."""
    factors = np.exp(np.random.default_rng(seed).uniform(0, np.log(FACTOR), conv.weight.shape[0])).astype(np.float32)
    factors[:2] = 1, FACTOR
    column = paddle.to_tensor(factors.reshape(-1, 1, 1, 1))
    conv.weight.set_value(conv.weight * column)
    conv.bias.set_value(conv.bias * paddle.to_tensor(factors))
    reader.weight.set_value(reader.weight / column)


def lcnet(act: Callable[..., Any] = F.hardswish) -> nn.Layer:
    """The net with channels spread."""
    paddle.seed(0)
    net = LCNet(act)
    for number, (conv, reader) in enumerate([(net.stem, net.blocks[0].dw), *((net.blocks[i].pw, net.blocks[i + 1].dw) for i in (0, 1))]):
        spread(conv, reader, number)
    net.eval()
    return net


def quantized(net: nn.Layer, placement: str, calibration: Any = None, **options: Any) -> nn.Layer:
    """The net calibrated and converted."""
    engine = ImperativePTQ(PTQConfig(placement=placement, **options))
    prepared = engine.quantize(net)
    with paddle.no_grad():
        prepared(data(16, 3, 24, 24) if calibration is None else calibration)
    return engine.convert(prepared)


def sqnr(net: nn.Layer, other: nn.Layer, x: Any = None) -> float:
    """dB of one net's answers over their difference from the other's."""
    x = data(16, 3, 24, 24, seed=1) if x is None else x
    with paddle.no_grad():
        expected, found = net(x).numpy().astype(np.float64), other(x).numpy().astype(np.float64)
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))
