"""Nets in whose corners the targets differ, and one calibrated model converted for a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
from channel_cases import lcnet
from models import Net, calibrated, data, small_net
from paddle import nn
from placement_cases import full

from ptq import ImperativePTQ

__all__ = ["NETS", "calibrated_net", "converted_for"]


def _residual() -> nn.Layer:
    paddle.seed(0)
    return small_net()


def _squeezed() -> nn.Layer:
    """Squeeze and excitation behind a depthwise convolution, its result added, as in MobileNetV3 and PP-OCR."""

    def compute(net: Any, x: Any) -> Any:
        y = F.hardswish(net.dw(F.relu(net.stem(x))))
        gate = F.hardsigmoid(net.up(F.relu(net.down(F.adaptive_avg_pool2d(y, 1)))))
        return net.last(y + y * gate)

    paddle.seed(0)
    layers = {"stem": nn.Conv2D(3, 8, 3, padding=1), "dw": nn.Conv2D(8, 8, 3, padding=1, groups=8)}
    return Net(compute, **layers, down=nn.Conv2D(8, 4, 1), up=nn.Conv2D(4, 8, 1), last=nn.Conv2D(8, 4, 1))


def _joined() -> nn.Layer:
    """Two branches, one of them enlarged, concatenated and read by a convolution; a transposed one at the end."""

    def compute(net: Any, x: Any) -> Any:
        left, right = F.relu(net.left(x)), F.interpolate(net.right(x), scale_factor=2, mode="nearest")
        return F.sigmoid(net.up(F.relu(net.last(paddle.concat([left, right], axis=1)))))

    paddle.seed(0)
    layers = {"left": nn.Conv2D(3, 4, 3, padding=1), "right": nn.Conv2D(3, 4, 3, stride=2, padding=1)}
    return Net(compute, **layers, last=nn.Conv2D(8, 4, 3, padding=1), up=nn.Conv2DTranspose(4, 2, 2, stride=2))


def _attending() -> nn.Layer:
    """Two products of activations, a difference, a sum of two convolutions, outputs of two kinds."""

    def compute(net: Any, x: Any) -> Any:
        y = net.a(x) + net.b(x)
        rows = y.flatten(2)
        scores = F.softmax(paddle.matmul(rows, rows, transpose_y=True))
        return net.fc(paddle.matmul(scores, rows) - rows), y

    paddle.seed(0)
    return Net(compute, a=nn.Conv2D(3, 6, 1), b=nn.Conv2D(3, 6, 1), fc=nn.Linear(64, 5))


SHAPE = (4, 3, 8, 8)
NETS: dict[str, Callable[[], nn.Layer]] = {
    "residual": _residual,
    "hardswish": lcnet,
    "squeezed": _squeezed,
    "joined": _joined,
    "attending": _attending,
}


def calibrated_net(name: str, **config: Any) -> nn.Layer:
    """A net of `NETS` that has seen a batch, placement ``full``."""
    net = NETS[name]()
    net.eval()
    return calibrated(net, data(*SHAPE), config=full(**config), fuse=True)


def converted_for(model: nn.Layer, target: str | None) -> nn.Layer:
    """The calibrated model, left as it is, converted for a target."""
    return ImperativePTQ().convert(model, inplace=False, target=target)
