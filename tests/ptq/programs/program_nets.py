"""Nets and files for the tests of saved programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn
from paddle.base import core
from paddle.static import InputSpec

ROOT = Path(__file__).resolve().parents[3]


class Mixed(nn.Layer):
    """Layers by name, functional operations, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8), nn.ReLU())
        self.twice = nn.Conv2D(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.stem(x)
        x = F.hardswish(self.twice(F.relu(self.twice(x))) + x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Affine(nn.Layer):
    """A learned scale and shift of the whole tensor, as PP-LCNet has them."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(scale))
        self.shift = self.create_parameter([1], default_initializer=nn.initializer.Constant(shift))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.scale * x + self.shift


class Block(nn.Layer):
    """Depthwise and pointwise convolutions, each with affine maps around a hard swish, and squeeze-and-excite on demand."""

    def __init__(self, inputs: int, outputs: int, stride: int, gate: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2D(inputs, inputs, 3, stride, 1, groups=inputs)
        self.before, self.after = Affine(1.3, 0.1), Affine(0.8, -0.2)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Conv2D(inputs, 4, 1), nn.ReLU(), nn.Conv2D(4, inputs, 1)) if gate else None
        self.pointwise = nn.Conv2D(inputs, outputs, 1)
        self.last = Affine(0.9, 0.3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.after(F.hardswish(self.before(self.depthwise(x))))
        if self.gate is not None:
            x = x * F.hardsigmoid(self.gate(x), slope=0.2, offset=0.5)
        return F.hardswish(self.last(self.pointwise(x)))


class LCNet(nn.Layer):
    """In the manner of PP-LCNetV3, the backbone of PP-OCRv4 and v5, with a detection head: transposed convolutions and a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3, 2, 1)
        self.blocks = nn.LayerList([Block(8, 12, 1, False), Block(12, 16, 2, True), Block(16, 16, 1, False)])
        self.neck = nn.Conv2D(16, 8, 3, padding=1, bias_attr=False)
        self.up = nn.Sequential(nn.Conv2DTranspose(8, 8, 2, 2), nn.BatchNorm2D(8), nn.ReLU(), nn.Conv2DTranspose(8, 1, 2, 2))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return F.sigmoid(self.up(self.neck(x)))


class Tied(nn.Layer):
    """Tokens, positions, attention, and an output layer that is the embedding again."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.encoder = nn.Embedding(20, 16), nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 1)

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        return paddle.matmul(self.encoder(self.tokens(ids)), self.tokens.weight, transpose_y=True)


def save(net: nn.Layer, prefix: Path, *shapes: Sequence[int | None], dtype: str = "float32") -> nn.Layer:
    """Saves a net in eval mode as a PIR program."""
    net.eval()
    paddle.jit.save(net, str(prefix), input_spec=[InputSpec(list(shape), dtype, f"x{i}") for i, shape in enumerate(shapes)])
    return net


def save_legacy(prefix: Path) -> None:
    """Saves a `Mixed` as a legacy program, which needs another process."""
    code = f"from program_nets import *; paddle.seed(0); save(Mixed(), Path({str(prefix)!r}), [None, 3, None, None])"
    environment = {**os.environ, "FLAGS_enable_pir_api": "0", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def one_file_each(folder: Path, names: dict[str, Any]) -> None:
    """Writes tensors as Paddle does, one file for each name."""
    folder.mkdir(exist_ok=True)
    for name, tensor in names.items():
        core.save_func(tensor.get_tensor(), name, str(folder / name), True, False)


def answers(layer: nn.Layer, *arrays: np.ndarray) -> list[np.ndarray]:
    """What a layer answers."""
    with paddle.no_grad():
        return [tensor.numpy() for tensor in paddle.utils.flatten(layer(*[paddle.to_tensor(array) for array in arrays]))]


def picture(*shape: int) -> np.ndarray:
    """Noise, the same each time."""
    return np.random.default_rng(0).standard_normal(shape).astype("float32")
