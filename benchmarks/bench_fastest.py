"""What does placement ``fastest`` win over ``full`` and float, in which runtime, and what does it cost?

    python -m benchmarks.bench_fastest [--nets NAME …] [--runtimes NAME …]

One thread, batches 1 and 8.  The three models of each net are written anew after the choice and timed in turn, so that the figures are not
those by which the choice was made.  Nets of `paddle.vision` have random weights, as in `bench_int8_latency`; accuracy is measured in memory
against the float model, on the dev part of trained nets and on random pictures of the others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.vision import models

import ptq
from benchmarks.metrics import sqnr
from benchmarks.programs import ocr_folder, why_no_ocr
from benchmarks.real_nets import NETS as REAL_NETS
from benchmarks.real_nets import batches, in_fours, outputs, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from benchmarks.zoo import settle
from ptq import ImperativePTQ, PTQConfig
from ptq.convert.apply import as_float
from ptq.tuning import Conditions
from ptq.tuning.conditions import RUNTIMES, runtime_for
from ptq.tuning.fastest import Tuned, find_fastest
from ptq.tuning.stage import Stage

__all__ = ["NETS", "measure"]

CONDITIONS = Conditions(batches=(1, 8), threads=1, rounds=7)
CALIBRATION, DEV, BATCH = 32, 32, 8
IMAGE = (3, 224, 224)


@dataclass(frozen=True)
class Subject:
    """A float net in eval mode with inputs to calibrate and to judge with."""

    model: nn.Layer
    calibration: np.ndarray[Any, Any]
    dev: np.ndarray[Any, Any]


def _random(name: str) -> Subject:
    paddle.seed(0)
    model = getattr(models, name)()
    images = np.random.default_rng(0).standard_normal((CALIBRATION + DEV, *IMAGE)).astype("float32")
    model.eval()
    settle(model, paddle.to_tensor(images[:BATCH]))
    return Subject(model, images[:CALIBRATION], images[CALIBRATION:])


def _trained(name: str) -> Subject:
    net = REAL_NETS[name]()
    return Subject(net.model, net.calibration[:CALIBRATION], net.dev[: 4 * DEV])


def _detection(name: str) -> Subject:
    """Pictures of 640 x 640, each of four tiles."""
    tiles = REAL_NETS["ppocr_det"]()
    return Subject(ptq.load_program(ocr_folder(name)), *(in_fours(found) for found in (tiles.calibration, tiles.dev)))


NETS: dict[str, tuple[Callable[[str], Subject], str]] = {
    "PP-OCR direction": (_trained, "ppocr_cls"),
    "PP-OCR detection v2": (_trained, "ppocr_det"),
    "PP-OCRv4 detection": (_detection, "PP-OCRv4 detection"),
    "MobileNetV2": (_random, "mobilenet_v2"),
    "ResNet-50": (_random, "resnet50"),
    "MobileNetV3": (_random, "mobilenet_v3_large"),
    "ShuffleNetV2": (_random, "shufflenet_v2_x1_0"),
    "SqueezeNet": (_random, "squeezenet1_1"),
}


def _times(alternatives: dict[str, nn.Layer], target: str, precision: str) -> Iterator[tuple[int, dict[str, np.ndarray[Any, Any]]]]:
    """Milliseconds of each alternative in each round, by batch size."""
    with tempfile.TemporaryDirectory(prefix="ptq-bench-fastest-") as folder:
        stage = Stage(folder, target, precision, CONDITIONS, None)
        for name, model in alternatives.items():
            stage.write(name, model)
        for batch in stage.feeds:
            yield batch, {name: 1e3 * np.asarray(found) for name, found in stage.times(list(alternatives), batch).items()}


def measure(name: str, target: str) -> Iterator[dict[str, Any]]:
    """A row for each batch size."""
    make, source = NETS[name]
    subject, engine = make(source), ImperativePTQ(PTQConfig(placement="full", target=target))
    prepared = engine.quantize(subject.model, fuse=True)
    ptq.calibrate(prepared, list(batches(subject.calibration, BATCH)), progress=False)
    tuned: Tuned = find_fastest(prepared, engine, CONDITIONS)
    print("\n".join([f"{name}:", *tuned.report.lines()]), file=sys.stderr, flush=True)
    full = engine.convert(prepared)
    alternatives = {"float": as_float(full), "full": full, "fastest": tuned.model}
    answers = {kind: outputs(model, subject.dev, BATCH) for kind, model in alternatives.items()}
    for batch, found in _times(alternatives, target, tuned.report.precision):
        yield {
            "net": name,
            "runtime": tuned.report.runtime,
            "float in": tuned.report.precision,
            "threads": CONDITIONS.threads,
            "batch": batch,
            "float ms": float(np.median(found["float"])),
            "full": float(np.median(found["float"] / found["full"])),
            "fastest": float(np.median(found["float"] / found["fastest"])),
            "float layers": len(tuned.leave_float),
            "layers": tuned.report.layers,
            "full dB": sqnr(answers["float"], answers["full"]),
            "fastest dB": sqnr(answers["float"], answers["fastest"]),
        }


def _print(rows: Sequence[dict[str, Any]]) -> None:
    forms = {**dict.fromkeys(("float ms", "full dB", "fastest dB"), "{:.1f}"), **dict.fromkeys(("full", "fastest"), "{:.2f}x")}
    print_table(rows, forms)


def main() -> int:
    """Prints the table and, when all is measured, writes ``results/fastest.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument("--runtimes", nargs="+", choices=list(RUNTIMES), default=list(RUNTIMES))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for runtime in options.runtimes:
        runtime_for(runtime, CONDITIONS)
    absent = {_trained: why_absent(), _detection: why_absent() or why_no_ocr()}
    names = [name for name in options.nets if not absent.get(NETS[name][0])]
    rows: list[dict[str, Any]] = []
    for name in names:
        for runtime in options.runtimes:
            found = list(measure(name, runtime))
            print("\n".join(f"  {row['net']}, batch {row['batch']}: {row['fastest']:.2f}x" for row in found), file=sys.stderr, flush=True)
            rows += found
    _print(rows)
    if set(names) == set(NETS) and set(options.runtimes) == set(RUNTIMES):
        write_json("fastest", rows, batches=list(CONDITIONS.batches), threads=CONDITIONS.threads, rounds=CONDITIONS.rounds)
    if len(names) < len(options.nets):
        print("\n".join(filter(None, dict.fromkeys(absent.values()))), file=sys.stderr)
    return LEFT_OUT if len(names) < len(options.nets) else 0


if __name__ == "__main__":
    sys.exit(main())
