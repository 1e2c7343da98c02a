"""Untrained nets of every family of `paddle.vision.models`, made comparable: batch-norm statistics of real activations, no dropout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import paddle
from paddle import nn
from paddle.vision import models

__all__ = ["FAMILIES", "centred_sqnr", "example", "make"]

# family: how to build a small member, and the side of its square input
FAMILIES: dict[str, tuple[Callable[[], nn.Layer], int]] = {
    "alexnet": (lambda: models.alexnet(num_classes=50), 224),
    "densenet121": (lambda: models.densenet121(num_classes=50), 96),
    "googlenet": (lambda: models.googlenet(num_classes=50), 224),
    "inception_v3": (lambda: models.inception_v3(num_classes=50), 128),
    "lenet": (lambda: models.LeNet(), 28),
    "mobilenet_v1": (lambda: models.mobilenet_v1(scale=0.5, num_classes=50), 96),
    "mobilenet_v2": (lambda: models.mobilenet_v2(scale=0.5, num_classes=50), 96),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=50), 96),
    "mobilenet_v3_large": (lambda: models.mobilenet_v3_large(num_classes=50), 96),
    "resnet18": (lambda: models.resnet18(num_classes=50), 96),
    "resnext50_32x4d": (lambda: models.resnext50_32x4d(num_classes=50), 96),
    "shufflenet_v2_x0_5": (lambda: models.shufflenet_v2_x0_5(num_classes=50), 96),
    "squeezenet1_1": (lambda: models.squeezenet1_1(num_classes=50), 96),
    "vgg11": (lambda: models.vgg11(num_classes=50), 64),
    "wide_resnet50_2": (lambda: models.wide_resnet50_2(num_classes=50), 64),
    "transformer_encoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128), 2), 0),
}
BATCH_NORMS = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D)


def example(family: str, batch: int = 4, seed: int = 0) -> paddle.Tensor:
    """A batch of inputs with structure at several scales, so that deep untrained nets tell the samples apart."""
    random = np.random.default_rng(seed)
    side = FAMILIES[family][1]
    if side == 0:
        return paddle.to_tensor(random.standard_normal((batch, 10, 64)).astype("float32"))
    channels = 1 if family == "lenet" else 3
    coarse = random.standard_normal((batch, channels, 4, 4)).repeat(-(-side // 4), 2).repeat(-(-side // 4), 3)[:, :, :side, :side]
    return paddle.to_tensor((coarse + 0.5 * random.standard_normal((batch, channels, side, side))).astype("float32"))


def make(family: str) -> nn.Layer:
    """The family's member with seeded weights, batch-norm statistics of one batch, dropout off, in eval mode."""
    paddle.seed(0)
    model = FAMILIES[family][0]()
    model.eval()
    norms = [layer for layer in model.sublayers() if isinstance(layer, BATCH_NORMS)]
    momenta = [norm._momentum for norm in norms]
    for norm in norms:
        norm.training, norm._momentum = True, 0.0
    with paddle.no_grad():
        model(example(family, batch=8, seed=1))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.training, norm._momentum = False, momentum
    return model


def centred_sqnr(reference: np.ndarray, other: np.ndarray) -> float:
    """SQNR in dB after each output's batch mean is taken off: untrained nets are nearly constant functions."""
    mean = reference.mean(0, keepdims=True, dtype=np.float64)
    noise = np.square(reference.astype(np.float64) - other).sum()
    return float("inf") if noise == 0 else float(10 * np.log10(np.square(reference - mean).sum() / noise))
