"""A small model with every kind of layer that matters in training, and a few steps of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

from ptq.qat import QATConfig, prepare


class Small(nn.Layer):
    """Plain, depthwise and transposed convolutions with batch norms, an addition, a Linear; logits ``[n, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2D(3, 8, 3, padding=1, bias_attr=False), nn.BatchNorm2D(8)
        self.c2, self.b2 = nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.BatchNorm(8, act="relu")
        self.t = nn.Conv2DTranspose(8, 8, 2, stride=2)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.relu(self.b1(self.c1(x)))
        x = F.hardswish(self.t(x + self.b2(self.c2(x))))
        return self.fc(x.mean([2, 3]))


def batch(seed: int = 0, items: int = 8) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Inputs and labels."""
    random = np.random.default_rng(seed)
    return paddle.to_tensor(random.standard_normal((items, 3, 6, 6)), dtype="float32"), paddle.to_tensor(random.integers(0, 10, items))


def step(model: nn.Layer, optimizer: Any, x: paddle.Tensor, y: paddle.Tensor) -> float:
    """One step; the loss before it."""
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return float(loss)


def sgd(model: nn.Layer, rate: float = 0.02) -> Any:
    """Momentum over all parameters."""
    return paddle.optimizer.Momentum(rate, parameters=model.parameters())


def trained(config: QATConfig, *, data: bool = True, steps: int = 3) -> tuple[nn.Layer, paddle.Tensor]:
    """A model in training after a few steps, in eval mode, and the batch that it saw."""
    x, y = batch()
    net = Small()
    net.train()
    model = prepare(net, config, data=[x] if data else None)
    optimizer = sgd(model)
    for _ in range(steps):
        step(model, optimizer, x, y)
    model.eval()
    return model, x


def decibels(answer: paddle.Tensor, expected: paddle.Tensor) -> float:
    """Signal to noise."""
    a, b = answer.numpy().astype(np.float64), expected.numpy().astype(np.float64)
    noise = np.square(a - b).sum()
    return float("inf") if noise == 0 else float(10 * np.log10(np.square(b).sum() / noise))
