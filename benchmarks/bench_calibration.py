"""What does calibration cost, against the plain forward of the same batch-norm-folded model, and against Paddle's own engine?

    python -m benchmarks.bench_calibration [--rounds N]

Each kind of run is timed in turn in one process, and the ratio is taken within a round; peak memory is measured in a process of its own
for each kind, since a process never gives its peak back.
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

__all__ = ["measure"]

MODELS = ("resnet50", "mobilenet_v2")
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


def _folded(name: str) -> tuple[ImperativePTQ, nn.Layer, nn.Layer]:
    """The engine, a model under calibration, and the same folded model without hooks."""
    engine = ImperativePTQ()
    spec = [paddle.static.InputSpec([None, *SHAPE[1:]], "float32")]
    calibrated = engine.quantize(_float_model(name), fuse=True, input_spec=spec)
    plain = copy.deepcopy(calibrated)
    for layer in plain.sublayers(include_self=True):
        layer._forward_pre_hooks.clear()
        layer._forward_post_hooks.clear()
    return engine, calibrated, plain


def _run(model: nn.Layer, data: list[paddle.Tensor]) -> Callable[[], None]:
    def run() -> None:
        with paddle.no_grad():
            for batch in data:
                model(batch)

    return run


def _cpu_seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """Ratios to the plain forward, seconds of CPU for thresholds and conversion, extra peak memory."""
    engine, calibrated, plain = _folded(name)
    theirs = builtin.ImperativePTQ().quantize(_float_model(name))
    data = _data()
    runs = {"plain": _run(plain, data), "ours": _run(calibrated, data), "built-in": _run(theirs, data)}
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(rounds):
        for kind, run in runs.items():
            times[kind].append(_seconds(run))
    quantizers = [layer._quant_config.in_act_quantizer for layer in calibrated.sublayers() if hasattr(layer, "_quant_config")]
    quantizers = [quantizer for quantizer in quantizers if quantizer.statistics]
    thresholds = min(_cpu_seconds(lambda: [quantizer.cal_thresholds() for quantizer in quantizers])[0] for _ in range(3))
    convert, _ = _cpu_seconds(lambda: engine.convert(calibrated))
    their_thresholds, _ = _cpu_seconds(lambda: theirs_thresholds(theirs))
    ours = {"thresholds CPU s": thresholds, "convert CPU s": convert, "grids": len(quantizers)}
    rest = {"ours": ours, "built-in": {"thresholds CPU s": their_thresholds, "convert CPU s": None, "grids": None}}
    rows = []
    for kind in ("ours", "built-in"):
        ratios = np.array(times[kind]) / np.array(times["plain"])
        row = {"model": name, "engine": kind, "forward ratio": float(np.median(ratios)), "spread": float(np.ptp(ratios)), **rest[kind]}
        for label, growth in (("extra MB", 1.0), ("extra MB, range x5000", 5000.0)):
            row[label] = peak(name, kind, growth) - peak(name, "plain", growth)
        rows.append(row)
    return rows


def theirs_thresholds(model: nn.Layer) -> None:
    """Paddle's engine computes its thresholds."""
    builtin.ImperativePTQ()._cal_thresholds(model)


def peak(name: str, kind: str, growth: float) -> float:
    """By how many MB memory rises in a fresh process that runs the forward of that kind."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.bench_calibration", "--peak", name, kind, str(growth)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(process.stdout.strip().splitlines()[-1]))


def _print_peak(name: str, kind: str, growth: float) -> None:
    """How far memory rises above what it was before the run (Linux: the kernel's high-water mark is reset first)."""
    if kind == "built-in":
        model = builtin.ImperativePTQ().quantize(_float_model(name), inplace=True)
    else:
        _, calibrated, plain = _folded(name)
        model = plain if kind == "plain" else calibrated
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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak", nargs=3, metavar=("MODEL", "KIND", "GROWTH"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.peak:
        _print_peak(options.peak[0], options.peak[1], float(options.peak[2]))
        return
    rows = [row for name in MODELS for row in measure(name, options.rounds)]
    formats = dict.fromkeys(("forward ratio", "spread", "thresholds CPU s", "convert CPU s"), "{:.2f}")
    shown = [{key: float("nan") if value is None else value for key, value in row.items()} for row in rows]
    print_table(shown, {**formats, "extra MB": "{:.0f}", "extra MB, range x5000": "{:.0f}"})
    write_json("calibration", rows)


if __name__ == "__main__":
    main()
