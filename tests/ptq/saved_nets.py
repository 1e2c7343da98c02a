"""Small nets as saved programs, and files of data for them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from models import randomize_norms
from paddle import nn
from paddle.static import InputSpec
from PIL import Image

from ptq import cli
from ptq.export.formats import FORMATS

__all__ = ["PictureNet", "TwoInputs", "pictures", "run_command", "save_net", "without_checks"]


class PictureNet(nn.Layer):
    """Scores ``[n, 4]`` of pictures ``[n, channels, h, w]``."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(channels, 8, 3, bias_attr=False), nn.BatchNorm2D(8)
        self.block = nn.Sequential(nn.Conv2D(8, 8, 3, stride=2), nn.BatchNorm2D(8), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        return self.fc(self.block(x).mean([2, 3]))


class TwoInputs(nn.Layer):
    """Scores ``[n, 3]`` of numbers ``[n, 6]`` and codes ``[n]``."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.codes, self.out = nn.Linear(6, 8), nn.Embedding(5, 8), nn.Linear(8, 3)

    def forward(self, numbers: Any, code: Any) -> Any:
        return self.out(nn.functional.relu(self.fc(numbers) + self.codes(code)))


def save_net(prefix: Path, shape: tuple[int | None, ...] = (None, 3, None, None), net: nn.Layer | None = None) -> nn.Layer:
    """Saves a `PictureNet`, whose input is called ``pic``, or a `TwoInputs` at the prefix; returns it."""
    net = PictureNet(shape[1] or 3) if net is None else net
    randomize_norms(net)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):  # zeros at first, which hide where a bias is missing
            parameter.set_value(paddle.uniform(parameter.shape, min=-1.0, max=1.0))
    net.eval()
    spec = [InputSpec(list(shape), "float32", "pic")]
    if isinstance(net, TwoInputs):
        spec = [InputSpec([None, 6], "float32", "numbers"), InputSpec([None], "int64", "code")]
    paddle.jit.save(net, str(prefix), input_spec=spec)
    return net


def pictures(folder: Path, count: int, height: int = 20, width: int = 24, ending: str = "png") -> Path:
    """A folder with that many pictures of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{number:03}.{ending}")
    return folder


def run_command(*arguments: Any) -> int:
    """One command in this process; its warnings are printed, as for a user."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        return cli.main([str(argument) for argument in arguments])


def without_checks(patch: Any) -> None:
    """Saving without the checks by fresh processes and runtimes, which take seconds and are tested elsewhere."""
    patch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    for name, made in FORMATS.items():
        patch.setitem(FORMATS, name, replace(made, check=lambda *_: []))
