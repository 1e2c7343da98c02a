"""Is the saved int8 model faster, in which runtime, by how much?

    python -m benchmarks.bench_int8_latency [--nets NAME …] [--rounds N]

Speed does not depend on the values of the weights: the nets of `paddle.vision` keep their random ones, with batch-norm statistics of one
batch in train mode.  The trained PP-OCR nets are measured too where they are available.  Everything is saved in all formats and measured
with the functions of ``python -m ptq bench``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec
from paddle.vision import models

from benchmarks.real_nets import NETS as REAL_NETS
from benchmarks.real_nets import why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from benchmarks.zoo import settle
from ptq import ImperativePTQ, PTQConfig
from ptq.bench import BenchReport, bench

__all__ = ["measure"]

FORMATS = ("jit", "onnx", "inference")
IMAGE = (3, 224, 224)
CALIBRATION_BATCH, CALIBRATION_BATCHES = 8, 2


@dataclass(frozen=True)
class Subject:
    """A net in eval mode, its calibration inputs ``[n, …]``, and the batch sizes to measure."""

    model: nn.Layer
    calibration: np.ndarray
    batches: Sequence[int]


def _random(name: str) -> Subject:
    paddle.seed(0)
    model = getattr(models, name)()
    images = np.random.default_rng(0).standard_normal((CALIBRATION_BATCH * CALIBRATION_BATCHES, *IMAGE)).astype("float32")
    model.eval()
    settle(model, paddle.to_tensor(images[:CALIBRATION_BATCH]))
    return Subject(model, images, (1, 8))


def _trained(name: str) -> Subject:
    net = REAL_NETS[name]()
    return Subject(net.model, net.calibration[: CALIBRATION_BATCH * CALIBRATION_BATCHES], (1,))


NETS: dict[str, Callable[[str], Subject]] = {"resnet50": _random, "mobilenet_v2": _random, "ppocr_det": _trained, "ppocr_cls": _trained}


def measure(name: str, rounds: int) -> BenchReport:
    """Quantizes the net, saves it in all formats with its float baseline, and measures them."""
    subject = NETS[name](name)
    spec = [InputSpec([None, *subject.calibration.shape[1:]], "float32")]
    engine = ImperativePTQ(PTQConfig(placement="full"))
    model = engine.quantize(subject.model, fuse=True, input_spec=spec)
    with paddle.no_grad():
        for batch in np.split(subject.calibration, CALIBRATION_BATCHES):
            model(paddle.to_tensor(batch))
    with tempfile.TemporaryDirectory(prefix="ptq-latency-") as folder:
        path = str(Path(folder, name))
        engine.save_quantized_model(engine.convert(model), path, input_spec=spec, formats=FORMATS, float_baseline=True)
        return bench(path, batches=subject.batches, rounds=rounds)


def _print_summary(rows: Sequence[dict[str, Any]]) -> None:
    """One thread: a line for each runtime and baseline, a column for each net and batch."""
    single = [row for row in rows if row["threads"] == 1]
    columns = list(dict.fromkeys((row["model"], row["batch"]) for row in single))
    ratios = {(row["runtime"], row["baseline"], row["model"], row["batch"]): f"{row['ratio']:.2f}x" for row in single}
    lines = dict.fromkeys((row["runtime"], row["baseline"]) for row in single)
    print_table([{"runtime": a, "against": b, **{f"{c[0]} bs{c[1]}": ratios.get((a, b, *c), "-") for c in columns}} for a, b in lines])


def main() -> int:
    """Prints the tables and writes ``results/int8_latency.json``, when all nets are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    absent = why_absent()
    rows = []
    names = [name for name in options.nets if not (absent and name in REAL_NETS)]
    for name in names:
        report = measure(name, options.rounds)
        print(f"{report.text()}\n")
        rows += [{"model": name, **row} for row in report.flat_rows()]
    if rows:
        _print_summary(rows)
    if set(names) == set(NETS):
        write_json("int8_latency", rows, rounds=options.rounds)
    left_out = [name for name in options.nets if name not in names]
    if left_out:
        print(f"{', '.join(left_out)} left out: {absent}", file=sys.stderr)
    return LEFT_OUT if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
