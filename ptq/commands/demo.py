"""The demo: a small residual network is trained on scikit-learn's digits, quantized, saved, and answers in a fresh process."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import ArtifactError

from ..export.check import replay
from ..export.jit.program import write_jit
from ..imperative import ImperativePTQ
from ..registry import PTQRegistry
from ..util.extras import import_extra
from ..util.progress import progress

__all__ = ["DemoReport", "DigitsNet", "add_command", "run_demo"]

T = TypeVar("T")

TRAIN = "train"
SEED = 0
EPOCHS = 12
BATCH = 64
TRAINING_IMAGES = 1297
CALIBRATION_IMAGES = 320
SPEC = [InputSpec([None, 1, 8, 8], "float32")]


class _Residual(nn.Layer):  # type: ignore[misc]
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(channels, channels, 3, padding=1, bias_attr=False), nn.BatchNorm2D(channels)
        self.conv2, self.bn2 = nn.Conv2D(channels, channels, 3, padding=1, bias_attr=False), nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


class DigitsNet(nn.Layer):  # type: ignore[misc]
    """A convolutional network for 8x8 images of digits: batch norms, one residual block, functional ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(1, 32, 3, padding=1, bias_attr=False), nn.BatchNorm2D(32)
        self.block = _Residual(32)
        self.conv2, self.bn2 = nn.Conv2D(32, 64, 3, stride=2, padding=1, bias_attr=False), nn.BatchNorm2D(64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Logits ``[n, 10]`` of images ``[n, 1, 8, 8]``."""
        x = self.block(F.relu(self.bn1(self.conv1(x))))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


@dataclass(frozen=True)
class _Digits:
    """Images ``[n, 1, 8, 8]`` in 0..1 with their labels: training, then test."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class DemoReport:
    """What the demo measured.

    Attributes:
        float_accuracy, int8_accuracy: share of right answers on the test images, in percent.
        sqnr: power of the float logits over power of the difference, in dB.
        agreement: share of test images with the same answer, in percent.
        float_bytes, int8_bytes: size of the saved parameters.
        quantized_layers, compute_layers: convolutions and Linears in int8, and all of them.
        seconds: duration of each step.
    """

    float_accuracy: float
    int8_accuracy: float
    sqnr: float
    agreement: float
    float_bytes: int
    int8_bytes: int
    quantized_layers: int
    compute_layers: int
    seconds: dict[str, float]

    def table(self) -> str:
        """All figures as one table: name, float, int8, remark."""
        rows = [
            ("", "float", "int8", ""),
            ("accuracy", f"{self.float_accuracy:.2f} %", f"{self.int8_accuracy:.2f} %", ""),
            ("agreement with float", "", f"{self.agreement:.2f} %", ""),
            ("logit SQNR", "", f"{self.sqnr:.1f} dB", ""),
            ("parameter bytes", f"{self.float_bytes:,}", f"{self.int8_bytes:,}", f"{self.float_bytes / self.int8_bytes:.2f} times smaller"),
            ("layers quantized", "", f"{self.quantized_layers} / {self.compute_layers}", ""),
        ]
        for step, seconds in self.seconds.items():
            time_of = ("", f"{seconds:.1f} s")
            rows.append((f"time: {step}", *(time_of[::-1] if step == TRAIN else time_of), ""))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows]
        return "\n".join([lines[0], "-" * (sum(widths) + 4), *lines[1:]])


def run_demo(output: str | Path = "demo-output") -> DemoReport:
    """Trains, quantizes, calibrates, converts, saves, and answers with the saved model in a fresh process.

    Args:
        output: folder for the saved models ``float`` and ``int8``; made when it does not exist.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        ArtifactError: the models cannot be written to ``output``.
    """
    digits, folder, clock = _load_digits(), _made(Path(output)), _Stopwatch()
    float_model = clock.timed(TRAIN, lambda: _train(digits))
    write_jit(float_model, str(folder / "float"), SPEC)

    engine, prefix = ImperativePTQ(), str(folder / "int8")
    model = clock.timed("quantize", lambda: engine.quantize(float_model, fuse=True))
    clock.timed("calibrate", lambda: _calibrate(model, digits.train[:CALIBRATION_IMAGES]))
    converted = clock.timed("convert", lambda: engine.convert(model))
    clock.timed("save and check", lambda: engine.save_quantized_model(converted, prefix, input_spec=SPEC, verbose=False))
    answers = clock.timed("load and answer, fresh process", lambda: replay(prefix, [paddle.to_tensor(digits.test)])[0].numpy())

    reference = _answers(float_model, digits.test)
    return DemoReport(
        float_accuracy=_share(reference.argmax(-1) == digits.test_labels),
        int8_accuracy=_share(answers.argmax(-1) == digits.test_labels),
        sqnr=_sqnr(reference, answers),
        agreement=_share(reference.argmax(-1) == answers.argmax(-1)),
        float_bytes=(folder / "float.pdiparams").stat().st_size,
        int8_bytes=(folder / "int8.pdiparams").stat().st_size,
        quantized_layers=sum(map(PTQRegistry.is_quantized_layer, converted.sublayers())),
        compute_layers=sum(map(PTQRegistry.is_simulated_quant_layer, float_model.sublayers())),
        seconds=clock.seconds,
    )


class _Stopwatch:
    """How long each named step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, step: str, function: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = function()
        self.seconds[step] = time.perf_counter() - start
        return result


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{folder}: the output folder cannot be made: {error}") from error
    return folder


def _load_digits() -> _Digits:
    """The data set that comes with scikit-learn, in a seeded order."""
    data = import_extra("sklearn.datasets", "demo", "scikit-learn").load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    images = (data.images[order, None] / 16).astype("float32")
    labels = data.target[order].astype("int64")
    cut = TRAINING_IMAGES
    return _Digits(images[:cut], labels[:cut], images[cut:], labels[cut:])


def _batches(array: np.ndarray) -> list[np.ndarray]:
    return [array[start : start + BATCH] for start in range(0, len(array), BATCH)]


def _train(digits: _Digits) -> nn.Layer:
    """A trained network, in eval mode."""
    paddle.seed(SEED)
    random = np.random.default_rng(SEED)
    model = DigitsNet()
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(2e-3, EPOCHS)
    optimizer = paddle.optimizer.Adam(schedule, parameters=model.parameters())
    for _ in progress(range(EPOCHS), description="train"):
        for rows in _batches(random.permutation(len(digits.train))):
            loss = F.cross_entropy(model(paddle.to_tensor(digits.train[rows])), paddle.to_tensor(digits.train_labels[rows]))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        schedule.step()
    model.eval()
    return model


def _calibrate(model: nn.Layer, images: np.ndarray) -> None:
    with paddle.no_grad():
        for batch in progress(_batches(images), description="calibrate"):
            model(paddle.to_tensor(batch))


def _answers(model: nn.Layer, images: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return np.concatenate([model(paddle.to_tensor(batch)).numpy() for batch in _batches(images)])


def _sqnr(reference: np.ndarray, answers: np.ndarray) -> float:
    noise = np.square(answers - reference, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(reference, dtype=np.float64).sum() / noise)) if noise else float("inf")


def _share(hits: np.ndarray) -> float:
    return float(hits.mean() * 100)


def add_command(commands: Any) -> None:
    """Adds ``demo`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="train, quantize and save a small network, and print what was measured",
        description="Trains a small network on the digits of scikit-learn, quantizes and saves it, and prints what was measured.",
    )
    parser.add_argument("--output", default="demo-output", metavar="FOLDER", help="folder for the saved models (default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(run_demo(options.output).table())
    print(f"\nsaved models: {Path(options.output) / 'float'} and {Path(options.output) / 'int8'}")
    return 0
