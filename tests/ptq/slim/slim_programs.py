"""Saved programs as scripts for PaddleSlim have them, and data for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn
from paddle.static import InputSpec

# As Paddle 2 built and saved nets: static mode, and no representation but the legacy one.
LENET = """
import sys, paddle
paddle.enable_static()
paddle.seed(0)
main, startup = paddle.static.Program(), paddle.static.Program()
with paddle.static.program_guard(main, startup):
    image = paddle.static.data("image", [None, 1, 28, 28], "float32")
    net = paddle.vision.models.LeNet()
    answer = paddle.nn.functional.softmax(net(image))
executor = paddle.static.Executor(paddle.CPUPlace())
executor.run(startup)
paddle.static.save_inference_model(sys.argv[1], [image], [answer], executor, program=main.clone(for_test=True))
"""

LEGACY = """
import sys, paddle
sys.path.insert(0, sys.argv[2])
from slim_programs import save_small
save_small(sys.argv[1])
"""


class Small(nn.Layer):
    """Plain, depthwise and pointwise convolutions with batch norms, an addition, and two products."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2D(1, 8, 3, padding=1), nn.BatchNorm2D(8)
        self.depthwise, self.pointwise = nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.Conv2D(8, 8, 1)
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = F.relu(self.norm(self.stem(image)))
        x = F.relu(self.pointwise(F.relu(self.depthwise(x))) + x)
        return self.head(F.relu(self.hidden(F.adaptive_avg_pool2d(x, 1).flatten(1))))


def save_small(prefix: str) -> None:
    """Saves a `Small` in the format of this process."""
    paddle.seed(0)
    net = Small()
    net.eval()
    paddle.jit.save(net, prefix, input_spec=[InputSpec([None, 1, 28, 28], "float32", "image")])


def in_legacy_process(code: str, *arguments: str) -> None:
    """Runs code where Paddle knows the legacy representation only."""
    environment = {**os.environ, "FLAGS_enable_pir_api": "0", "GLOG_minloglevel": "2"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]


def save_legacy_small(prefix: Path) -> None:
    """The same as `.pdmodel`."""
    in_legacy_process(LEGACY, str(prefix), str(Path(__file__).parent))


def save_lenet(prefix: Path) -> None:
    """A LeNet by static-mode code of Paddle 2."""
    in_legacy_process(LENET, str(prefix))


def images(count: int = 12) -> np.ndarray[Any, Any]:
    """The same pictures each time, ``[count, 1, 28, 28]``."""
    return np.random.default_rng(7).random((count, 1, 28, 28)).astype("float32")


def sample_reader() -> Iterator[tuple[np.ndarray[Any, Any]]]:
    """As PaddleSlim's readers: one sample, a tuple of its inputs, at a time."""
    for image in images():
        yield (image,)


def batch_reader() -> Iterator[list[np.ndarray[Any, Any]]]:
    """The same in batches of four."""
    for start in range(0, 12, 4):
        yield [images()[start : start + 4]]
