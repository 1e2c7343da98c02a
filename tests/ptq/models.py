"""Small models and shortcuts that the tests of this folder share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import QuantizationWarning


def data(*shape: int, seed: int = 0) -> paddle.Tensor:
    """Standard normal numbers."""
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape), dtype="float32")


def absmax(bits: int = 8, weight_bits: int | None = None) -> PTQConfig:
    """Abs-max for activations, abs-max per channel for weights."""
    return PTQConfig(AbsmaxQuantizer(bits), PerChannelAbsmaxQuantizer(bits if weight_bits is None else weight_bits))


def calibrated(model: nn.Layer, *batches: paddle.Tensor, config: PTQConfig | None = None, **options: Any) -> nn.Layer:
    """What `quantize` returns, after it has seen the batches."""
    model = ImperativePTQ(absmax() if config is None else config).quantize(model, **options)
    with paddle.no_grad():
        for batch in batches:
            model(batch)
    return model


def converted(model: nn.Layer, *batches: paddle.Tensor, config: PTQConfig | None = None, **options: Any) -> nn.Layer:
    """The quantized model."""
    return ImperativePTQ().convert(calibrated(model, *batches, config=config, **options))


def relative(answer: paddle.Tensor, expected: paddle.Tensor) -> float:
    """Largest difference over the largest magnitude of ``expected``."""
    a, b = (np.asarray(tensor.astype("float64").numpy()) for tensor in (answer, expected))
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    assert np.isfinite(a).all()
    assert np.isfinite(b).all()
    return float(np.abs(a - b).max() / np.abs(b).max())


def randomize_norms(model: nn.Layer, seed: int = 0) -> nn.Layer:
    """Gives every batch norm statistics and parameters of a trained net, and puts the model in eval mode."""
    random = np.random.default_rng(seed)
    for layer in model.sublayers(include_self=True):
        if hasattr(layer, "_variance"):
            shape = layer._mean.shape
            layer._mean.set_value(random.standard_normal(shape).astype("float32"))
            layer._variance.set_value(random.uniform(0.3, 3.0, shape).astype("float32"))
            for parameter in (layer.weight, layer.bias):
                if parameter is not None:
                    parameter.set_value(random.uniform(0.5, 2.0, shape).astype("float32"))
    model.eval()
    return model


def quietly(call: Callable[[], Any]) -> Any:
    """The call's answer, the engine's warnings kept silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        return call()


class Net(nn.Layer):
    """A ``forward`` written as a function of the model and its input, so that a test shows its model in a few lines."""

    def __init__(self, compute: Callable[..., Any], **layers: Any) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.compute = compute

    def forward(self, x: Any, y: Any = None) -> Any:
        return self.compute(self, x) if y is None else self.compute(self, x, y)


def classes(layers: Sequence[nn.Layer]) -> list[str]:
    """Names of the layers' classes."""
    return [type(layer).__name__ for layer in layers]


class Branching(nn.Layer):
    """Calls its layer once more, on an input 64 times as large, if the data says so: traced as a branch, without fixed places."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        y = self.fc(x)
        if paddle.mean(x) > -100:
            y = self.fc(y * 64.0)
        return y


class SmallNet(nn.Layer):
    """Convolution, batch norm, ReLU as a function, a residual addition, pooling, Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(3, 8, 3, padding=1, bias_attr=False), nn.BatchNorm2D(8)
        self.conv2, self.bn2 = nn.Conv2D(8, 8, 3, padding=1), nn.BatchNorm2D(8)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)) + x)
        return self.fc(self.pool(x).flatten(1))


def small_net() -> nn.Layer:
    """A `SmallNet` in eval mode with batch-norm statistics of a trained net."""
    return randomize_norms(SmallNet())
