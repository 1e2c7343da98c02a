"""Quantization-aware training on real data: accuracy after a few epochs, against a float control trained in the same way.

    python -m benchmarks.bench_qat                     # all of it, rows that results/qat.json has already are not run again
    python -m benchmarks.bench_qat --rows lsq-w4a4     # these rows only
    python -m benchmarks.bench_qat --steps             # what a training step costs
    python -m benchmarks.bench_qat --camvid FOLDER     # segmentation by the command line, states and files in FOLDER

ResNet-20 on 10,000 CIFAR-10 images, placement ``compute``, first and last layer at 8 bits.  Every row, the control too, starts from the
same float net and learns from labels and from that net's answers.  Accuracy is that of the converted model on 5,000 other images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

from ptq import QuantOverride
from ptq.qat import Distillation, QATConfig, convert, prepare
from ptq.trainer.nets.lite_seg import LiteSeg

from . import camvid
from .real_nets import MEAN, STD, data_folder, outputs, resnet20, shared_module, why_absent
from .report import RESULTS, print_table, write_json
from .run_all import LEFT_OUT

__all__ = ["main"]

BATCH, EPOCHS, RATE = 100, 4, 0.01
KINDS: dict[str, dict[str, Any]] = {
    "float": {},
    "lsq-w8a8": {},
    "lsq-w4a4": {"weight_bits": 4, "activation_bits": 4},
    "lsq-w3a3": {"weight_bits": 3, "activation_bits": 3},
    "lsq-w2a8": {"weight_bits": 2},
    "pact-w4a4": {"activations": "pact", "weight_bits": 4, "activation_bits": 4},
    "moving-w4a4": {"activations": "moving_average_abs_max", "weights": "abs_max", "weight_bits": 4, "activation_bits": 4},
    "moving-w8a8": {"activations": "moving_average_abs_max", "weights": "abs_max"},
}
SEEDS = {"float": 3, "lsq-w8a8": 3, "lsq-w4a4": 3}
EIGHT = QuantOverride(activation_bits=8, weight_bits=8)


class Images:
    """The training images: padded, cropped and flipped by chance; the seed decides all of it."""

    def __init__(self, seed: int) -> None:
        x, y = shared_module().images(data_folder() / "cifar10_train.npz")
        self.x = ((x / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
        self.y = np.asarray(y, dtype=np.int64)
        self.random = np.random.default_rng(seed)

    def epoch(self) -> Iterator[tuple[paddle.Tensor, paddle.Tensor]]:
        """Batches in a new order."""
        order = self.random.permutation(len(self.x))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            yield paddle.to_tensor(np.stack([self._augmented(self.x[index]) for index in chosen])), paddle.to_tensor(self.y[chosen])

    def _augmented(self, image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
        top, left = self.random.integers(0, 9, 2)
        cut = padded[:, top : top + 32, left : left + 32]
        return cut[:, :, ::-1] if self.random.random() < 0.5 else cut


def run(kind: str, seed: int, epochs: int) -> dict[str, Any]:
    """One row."""
    paddle.seed(seed)
    net = resnet20()
    images = Images(seed)
    started = time.perf_counter()
    model = resnet20().model
    if kind != "float":
        config = QATConfig(overrides={"conv1": EIGHT, "linear": EIGHT}, **KINDS[kind])
        model = prepare(model, config, data=[paddle.to_tensor(net.calibration[start : start + 64]) for start in range(0, 512, 64)])
    train(model, net.model, images, epochs)
    model.eval()
    trained = accuracy(model, net.dev, net.labels)
    final = model if kind == "float" else convert(model)
    return {
        "row": f"{kind}/{seed}",
        "kind": kind,
        "seed": seed,
        "epochs": epochs,
        "float_before": accuracy(net.model, net.dev, net.labels),
        "trained": trained,
        "converted": accuracy(final, net.dev, net.labels),
        "minutes": (time.perf_counter() - started) / 60,
    }


def train(model: nn.Layer, teacher: nn.Layer, images: Images, epochs: int) -> None:
    """SGD with momentum, cosine schedule, labels and the float net's answers."""
    model.train()
    steps = epochs * (len(images.x) // BATCH)
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(RATE, steps)
    optimizer = paddle.optimizer.Momentum(schedule, 0.9, parameters=model.parameters(), weight_decay=1e-4)
    distill = Distillation(model, teacher, temperature=2.0)
    for epoch in range(epochs):
        for number, (x, y) in enumerate(images.epoch()):
            _, loss = distill(x, labels=y)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            schedule.step()
            if number % 20 == 0:
                print(f"  epoch {epoch} batch {number}: loss {float(loss):.4f}", flush=True)


def accuracy(model: nn.Layer, x: np.ndarray, y: Any) -> float:
    """Top-1 in percent."""
    return float((outputs(model, x, 100).argmax(1) == y).mean() * 100)


def step_costs(rounds: int = 9) -> list[dict[str, Any]]:
    """What a training step costs against the float step, on ResNet-20 and the segmentation net."""
    pictures = paddle.randn([64, 3, 32, 32]), paddle.randint(0, 10, [64])
    streets = paddle.randn([8, 3, 180, 240]), paddle.randint(0, 11, [8, 180, 240])
    return [*_step_costs("resnet20", resnet20().model, *pictures, rounds), *_step_costs("LiteSeg", LiteSeg(11), *streets, rounds)]


def _step_costs(net: str, plain: nn.Layer, x: paddle.Tensor, y: paddle.Tensor, rounds: int) -> list[dict[str, Any]]:
    """The kinds take turns; medians of ratios."""
    kinds: dict[str, QATConfig | None] = {
        "float": None,
        "lsq": QATConfig(),
        "lsq+": QATConfig("lsq+"),
        "pact": QATConfig("pact"),
        "moving average": QATConfig("moving_average_abs_max", "abs_max"),
        "folded in training": QATConfig(fuse="training"),
        "full": QATConfig(placement="full"),
    }
    models = {kind: plain if config is None else prepare(plain, config, data=[x]) for kind, config in kinds.items()}
    optimizers = {kind: paddle.optimizer.Momentum(0.001, parameters=model.parameters()) for kind, model in models.items()}
    times: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(rounds):
        for kind, model in models.items():
            model.train()
            begin = time.perf_counter()
            F.cross_entropy(model(x), y, axis=1).backward()
            optimizers[kind].step()
            optimizers[kind].clear_grad()
            times[kind].append(time.perf_counter() - begin)
    base = times["float"][1:]
    return [
        {
            "net": net,
            "kind": kind,
            "ms": statistics.median(found[1:]) * 1e3,
            "of_float": statistics.median(mine / other for mine, other in zip(found[1:], base, strict=True)),
        }
        for kind, found in times.items()
    ]


def _known(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    control = [row["converted"] for row in rows if row["kind"] == "float"]
    best = max([88.30, *([statistics.mean(control)] if control else [])])
    found = []
    for kind in KINDS:
        values = [row["converted"] for row in rows if row["kind"] == kind]
        if values:
            mean = statistics.mean(values)
            found.append({"kind": kind, "seeds": len(values), "top-1": mean, "against float": mean - best})
    return found


def main(arguments: list[str] | None = None) -> int:
    """Runs what is asked for and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--seeds", type=int, help="for each row, instead of 3 or 1")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--steps", action="store_true", help="only what a training step costs")
    parser.add_argument("--camvid", metavar="FOLDER", type=Path, help="only segmentation")
    parser.add_argument("--camvid-iters", type=int, nargs=2, default=(2400, 400), metavar="N", help="of the float net, and on grids")
    options = parser.parse_args(arguments)
    if why_absent() or not Path(data_folder(), "cifar10_train.npz").is_file():
        print(why_absent() or "cifar10_train.npz is not here")
        return LEFT_OUT
    if options.steps:
        rows = step_costs()
        write_json("qat_steps", rows)
        print_table(rows, {"ms": "{:.0f}", "of_float": "{:.2f}"})
        return 0
    if options.camvid:
        rows = camvid.run(options.camvid, *options.camvid_iters)
        write_json("qat_camvid", rows, iters=list(options.camvid_iters))
        print_table([{key: value for key, value in row.items() if not isinstance(value, (list, tuple))} for row in rows])
        return 0
    rows = _known("qat")
    for kind in options.rows:
        for seed in range(options.seeds or SEEDS.get(kind, 1)):
            if any(row["row"] == f"{kind}/{seed}" and row["epochs"] == options.epochs for row in rows):
                continue
            rows.append(run(kind, seed, options.epochs))
            write_json("qat", rows, batch=BATCH, rate=RATE)
            print_table(rows[-1:], {"minutes": "{:.1f}"})
    print_table(_summary(rows), {"top-1": "{:.2f}", "against float": "{:+.2f}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
