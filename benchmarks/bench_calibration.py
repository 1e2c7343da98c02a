"""What does calibration cost, against the plain forward of the same batch-norm-folded model, and against Paddle's own engine?

    python -m benchmarks.bench_calibration [--models NAME ...] [--rounds N] [--steps N]

All three forwards are of the same folded model. They are timed in turn in one process, and the ratio is taken within a round; so are the
ways from statistics to thresholds, each on a fresh copy of what calibration left. Peak memory is measured in a process of its own for each
kind, since a process never gives its peak back.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.quantization.imperative import ptq as builtin
from paddle.vision import models

from benchmarks.report import print_table, write_json
from ptq import ImperativePTQ
from ptq.graph.tracing import trace
from ptq.passes.fuse import fuse_traced

__all__ = ["measure"]

MODELS = ("resnet50", "mobilenet_v2")
ENGINES = ("ours", "built-in")
KINDS = ("plain", *ENGINES)
SHAPE = (8, 3, 224, 224)
BATCHES = 2


def _data(growth: float = 1.0) -> list[paddle.Tensor]:
    random = np.random.default_rng(0)
    scales = np.geomspace(1.0, growth, BATCHES)
    return [paddle.to_tensor((random.standard_normal(SHAPE) * scale).astype("float32")) for scale in scales]


def _float_model(name: str) -> nn.Layer:
    paddle.seed(0)
    model = getattr(models, name)()
    model.eval()
    return model


def _folded(name: str) -> nn.Layer:
    """The float model that all three start from: batch norms folded, no hooks."""
    model = _float_model(name)
    spec = [paddle.static.InputSpec([None, *SHAPE[1:]], "float32")]
    fuse_traced(model, trace(model, spec))
    if any(isinstance(layer, nn.BatchNorm2D) for layer in model.sublayers()):
        raise RuntimeError(f"{name} has batch norms left: the forwards would not be alike")
    return model


def _prepared(kind: str, name: str) -> nn.Layer:
    """A folded model of its own: plain, under our calibration, or under the built-in's."""
    model = _folded(name)
    if kind == "plain":
        return model
    if kind == "built-in":
        return builtin.ImperativePTQ().quantize(model, inplace=True)
    spec = [paddle.static.InputSpec([None, *SHAPE[1:]], "float32")]
    return ImperativePTQ().quantize(model, inplace=True, fuse=True, input_spec=spec)


def _run(model: nn.Layer, data: list[paddle.Tensor]) -> Callable[[], None]:
    def run() -> None:
        with paddle.no_grad():
            for batch in data:
                model(batch)

    return run


def _cpu_seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(name: str, rounds: int, steps: int) -> list[dict[str, Any]]:
    """For each engine: its forward over the plain one, CPU seconds from statistics to thresholds, and extra peak memory.

    Medians of equally many runs in turn, for both engines.
    """
    models = {kind: _prepared(kind, name) for kind in KINDS}
    data = _data()
    runs = {kind: _run(model, data) for kind, model in models.items()}
    for run in runs.values():
        run()
    times = _interleaved({kind: lambda run=run: _seconds(run) for kind, run in runs.items()}, rounds)
    step = _interleaved({kind: lambda kind=kind: STEPS[kind][1](copy.deepcopy(models[kind])) for kind in ENGINES}, steps)
    rows = []
    for kind in ENGINES:
        ratios = np.array(times[kind]) / np.array(times["plain"])
        row = {
            "model": name,
            "engine": kind,
            "forward ratio": float(np.median(ratios)),
            "quartile 1": float(np.percentile(ratios, 25)),
            "quartile 3": float(np.percentile(ratios, 75)),
            "rounds": rounds,
            "step": STEPS[kind][0],
            "step CPU s": float(np.median(step[kind])),
            "least": min(step[kind]),
            "most": max(step[kind]),
            "steps": steps,
        }
        for label, growth in (("extra MB", 1.0), ("extra MB, range x5000", 5000.0)):
            row[label] = peak(name, kind, growth) - peak(name, "plain", growth)
        rows.append(row)
    return rows


def _interleaved(measured: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each measures, in turn; every round starts with another one."""
    found: dict[str, list[float]] = {kind: [] for kind in measured}
    order = list(measured)
    for _ in range(rounds):
        for kind in order:
            found[kind].append(measured[kind]())
        order = order[1:] + order[:1]
    return found


def _convert(model: nn.Layer) -> float:
    return _cpu_seconds(lambda: ImperativePTQ().convert(model))


def _their_thresholds(model: nn.Layer) -> float:
    return _cpu_seconds(lambda: builtin.ImperativePTQ()._cal_thresholds(model))


# Ours is the whole way to a converted model, twins and weights included; theirs is the step that computes the thresholds, all of it.
STEPS: dict[str, tuple[str, Callable[[nn.Layer], float]]] = {
    "ours": ("convert, as a whole", _convert),
    "built-in": ("all thresholds", _their_thresholds),
}


def peak(name: str, kind: str, growth: float) -> float:
    """By how many MB memory rises in a fresh process that runs the forward of that kind."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.bench_calibration", "--peak", name, kind, str(growth)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(process.stdout.strip().splitlines()[-1]))


def _print_peak(name: str, kind: str, growth: float) -> None:
    """How far memory rises above what it was before the run (Linux: the kernel's high-water mark is reset first)."""
    model = _prepared(kind, name)
    data = _data(growth)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_mb("VmRSS")
    _run(model, data)()
    print(json.dumps(_status_mb("VmHWM") - before))


def _status_mb(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Prints the table and writes ``results/calibration.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=7, help="forwards of each kind")
    parser.add_argument("--steps", type=int, default=3, help="conversions, and threshold steps of the built-in")
    parser.add_argument("--peak", nargs=3, metavar=("MODEL", "KIND", "GROWTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak:
        _print_peak(options.peak[0], options.peak[1], float(options.peak[2]))
        return
    rows = [row for name in options.models for row in measure(name, options.rounds, options.steps)]
    formats = dict.fromkeys(("forward ratio", "quartile 1", "quartile 3", "step CPU s", "least", "most"), "{:.2f}")
    print_table(rows, {**formats, "extra MB": "{:.0f}", "extra MB, range x5000": "{:.0f}"})
    write_json("calibration", rows, shape=SHAPE, batches=BATCHES, rounds=options.rounds, steps=options.steps)


if __name__ == "__main__":
    main()
