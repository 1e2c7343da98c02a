"""Real trained nets and real data, found through ``PTQ_DATA``; tests and benchmarks skip what needs them when they are absent."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

__all__ = ["MEAN", "NETS", "STD", "RealNet", "batches", "data_folder", "in_fours", "outputs", "shared_module", "text_lines", "why_absent"]

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def data_folder() -> Path:
    """The folder that ``PTQ_DATA`` names; by default ``../shared/data`` beside the project."""
    return Path(os.environ.get("PTQ_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def why_absent() -> str:
    """Why the real nets cannot be used; an empty string when they can."""
    return "" if (data_folder() / "nets.py").is_file() else "the real nets are not here: set PTQ_DATA to their folder"


@dataclass
class RealNet:
    """A trained net in eval mode with its calibration inputs and dev inputs, and labels where there are any."""

    model: nn.Layer
    calibration: np.ndarray
    dev: np.ndarray
    labels: np.ndarray | None
    batch: int


class _Block(nn.Layer):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(inputs, outputs, 3, stride=stride, padding=1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(outputs)
        self.conv2 = nn.Conv2D(outputs, outputs, 3, padding=1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(outputs)
        self.stride, self.grow = stride, (outputs - inputs) // 2

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1 or self.grow:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], [0, 0, self.grow, self.grow, 0, 0, 0, 0])
        return F.relu(y + x)


class ResNet20(nn.Layer):
    """CIFAR ResNet-20 (He et al. 2015, section 4.2), shortcuts without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(3, 16, 3, padding=1, bias_attr=False), nn.BatchNorm2D(16)
        widths = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        stages = [nn.Sequential(_Block(i, o, s), _Block(o, o, 1), _Block(o, o, 1)) for i, o, s in widths]
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(64, 10)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class _Separable(nn.Layer):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        padding: Any = [0, 1, 0, 1] if stride == 2 else 1
        self.dw, self.bn1 = nn.Conv2D(inputs, inputs, 3, stride, padding, groups=inputs), nn.BatchNorm2D(inputs, epsilon=1e-3)
        self.pw, self.bn2 = nn.Conv2D(inputs, outputs, 1), nn.BatchNorm2D(outputs, epsilon=1e-3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.bn2(self.pw(F.relu(self.bn1(self.dw(x))))))


class _Stem(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2D(3, 8, 3, 2, [0, 1, 0, 1]), nn.BatchNorm2D(8, epsilon=1e-3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.bn(self.conv(x)))


class MobileNetVWW(nn.Layer):
    """MLPerf Tiny visual wake words: MobileNetV1, width 0.25."""

    def __init__(self) -> None:
        super().__init__()
        plan = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
        widths = [8, *[outputs for outputs, _ in plan]]
        self.stem = _Stem()
        self.blocks = nn.LayerList([_Separable(i, o, s) for i, (o, s) in zip(widths, plan, strict=False)])
        self.fc = nn.Linear(256, 2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _load(model: nn.Layer, name: str) -> nn.Layer:
    with np.load(data_folder() / name) as file:
        state = {key: paddle.to_tensor(file[key]) for key in file.files}
    missing, unexpected = model.set_state_dict(state)
    if missing or unexpected:
        raise ValueError(f"{name}: missing {missing}, unexpected {unexpected}")
    model.eval()
    return model


def shared_module() -> Any:
    """The module of the data folder that loads its nets and pictures."""
    spec = importlib.util.spec_from_file_location("shared_nets", data_folder() / "nets.py")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _nchw(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def _arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(data_folder() / name) as file:
        return {key: file[key] for key in file.files}


def resnet20() -> RealNet:
    """ResNet-20 on CIFAR-10; outputs logits ``[n, 10]``."""
    calibration, dev = _arrays("cifar10_calib.npz")["x"][:512], _arrays("cifar10_dev.npz")

    def prepare(x: np.ndarray) -> np.ndarray:
        return _nchw((x / np.float32(255) - MEAN) / STD)

    return RealNet(_load(ResNet20(), "resnet20.npz"), prepare(calibration), prepare(dev["x"]), dev["y"], 32)


def mobilenet_vww() -> RealNet:
    """Visual wake words on photographs; outputs logits ``[n, 2]``."""
    x = _nchw(_arrays("photos96.npz")["x"] / np.float32(255))
    return RealNet(_load(MobileNetVWW(), "mobilenet_vww.npz"), x[:100], x[100:], None, 20)


def ppocr_det() -> RealNet:
    """PP-OCR text detection; outputs a probability map ``[n, 1, 320, 320]``."""
    shared = shared_module()
    x = _nchw((shared.images(data_folder() / "text_tiles.npz")[0] / np.float32(255) - MEAN) / STD)
    return RealNet(shared.Net(data_folder() / "ppocr_det_v2.npz"), x[:64], x[64:], None, 16)


def in_fours(tiles: np.ndarray) -> np.ndarray:
    """Pictures ``[n // 4, channels, 2 * height, 2 * width]``, each of four tiles ``[n, channels, height, width]``."""
    count, channels, height, width = len(tiles) // 4, *tiles.shape[1:]
    whole = tiles[: 4 * count].reshape(count, 2, 2, channels, height, width).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(whole).reshape(count, channels, 2 * height, 2 * width)


def ppocr_cls() -> RealNet:
    """PP-OCR text direction; outputs probabilities ``[n, 2]``."""
    shared = shared_module()
    x, y = shared.images(data_folder() / "text_lines.npz")
    x = _nchw(x / np.float32(127.5) - 1)
    return RealNet(shared.Net(data_folder() / "ppocr_cls.npz"), x[:100], x[100:], y[100:], 20)


def text_lines() -> np.ndarray:
    """Lines of text for recognition models, upright, ``[400, 3, 48, 192]``; calibrate on the first 100."""
    x, is_turned = shared_module().images(data_folder() / "text_lines.npz")
    upright = np.stack([line[::-1, ::-1] if turned else line for line, turned in zip(x, is_turned, strict=True)])
    return _nchw(upright / np.float32(127.5) - 1)


def lm_python() -> RealNet:
    """Byte-level language model; outputs logits ``[n, 128, 128]``; the labels are the next bytes."""
    text = _arrays("text_python.npz")
    model = shared_module().LM(data_folder() / "lm_python.npz", heads=4)
    return RealNet(model, text["calib"][:, :128].astype(np.int64), text["test"][:, :128].astype(np.int64), text["test"][:, 1:], 32)


NETS = {"resnet20": resnet20, "mobilenet_vww": mobilenet_vww, "ppocr_det": ppocr_det, "ppocr_cls": ppocr_cls, "lm_python": lm_python}


def batches(x: np.ndarray, size: int) -> Iterator[paddle.Tensor]:
    """The inputs in order, as tensors of ``size`` items."""
    for start in range(0, len(x), size):
        yield paddle.to_tensor(x[start : start + size])


def outputs(model: nn.Layer, x: np.ndarray, size: int = 50) -> np.ndarray:
    """The model's answers to all inputs."""
    with paddle.no_grad():
        return np.concatenate([model(batch).numpy() for batch in batches(x, size)])
