"""How much smaller are the saved files, in each format?  Large nets to a quarter, small ones less: the program stays as it is, or grows.

python -m benchmarks.bench_size [NET ...]
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
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
from ptq import ImperativePTQ, PTQConfig
from ptq.convert.apply import as_float
from ptq.export.inference.artifact import write_inference
from ptq.export.jit.program import write_jit
from ptq.export.onnx.write import parameter_names, write_onnx
from quantizers.errors import QuantizationError

__all__ = ["NETS", "measure"]

RANDOM = ("resnet50", "mobilenet_v2")
NETS = (*RANDOM, "ppocr_det", "ppocr_cls")
PLACEMENTS = ("compute", "full")


def _subject(name: str) -> tuple[nn.Layer, np.ndarray]:
    """A float model and a batch."""
    if name in RANDOM:
        paddle.seed(0)
        model = getattr(models, name)()
        model.eval()
        return model, np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype("float32")
    net = REAL_NETS[name]()
    return net.model, net.calibration[:2]


def _sizes(model: nn.Layer, folder: str, spec: list[Any]) -> dict[str, int | str]:
    """Bytes by format; a message where it cannot be written.  What is written is not run: sizes do not depend on the processor."""
    prefix, names = f"{folder}/m", parameter_names(model)
    found: dict[str, int | str] = {}
    write_jit(model, prefix, spec)
    found["portable parameters"] = _bytes(f"{prefix}.pdiparams")
    found["portable"] = _bytes(f"{prefix}.json", f"{prefix}.pdiparams")
    try:
        write_onnx(prefix, Path(f"{prefix}.onnx"), Path(f"{folder}/simulated.onnx"), names)
        found["onnx"] = _bytes(f"{prefix}.onnx")
    except QuantizationError as error:
        found["onnx"] = str(error)
    try:
        write_inference(prefix, prefix, names)
        found["inference"] = _bytes(f"{prefix}.infer.pdmodel", f"{prefix}.infer.pdiparams")
    except QuantizationError as error:
        found["inference"] = str(error)
    return found


def _bytes(*paths: str) -> int:
    return sum(os.path.getsize(path) for path in paths)


def measure(name: str, placement: str) -> list[dict[str, Any]]:
    """One row for each format: bytes of the float model with folded batch norms, of the quantized one, and their ratio."""
    model, batch = _subject(name)
    spec = [InputSpec([None, *batch.shape[1:]], "float32")]
    engine = ImperativePTQ(PTQConfig(placement=placement))
    with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after, paddle.no_grad():
        calibrated = engine.quantize(model, fuse=True)
        calibrated(paddle.to_tensor(batch))
        converted = engine.convert(calibrated)
        floats = _sizes(as_float(converted), before, spec)
        int8 = _sizes(converted, after, spec)
    return [_row(name, placement, kind, floats[kind], int8[kind]) for kind in int8]


def _row(name: str, placement: str, kind: str, before: int | str, after: int | str) -> dict[str, Any]:
    row = {"model": name, "placement": placement, "files": kind, "float bytes": None, "int8 bytes": None, "ratio": None, "why not": ""}
    if isinstance(before, str) or isinstance(after, str):
        return {**row, "why not": next(text for text in (before, after) if isinstance(text, str))[:200]}
    return {**row, "float bytes": before, "int8 bytes": after, "ratio": after / before}


def main(chosen: Sequence[str]) -> int:
    """Prints the table and, when all nets are measured, writes ``results/size.json``."""
    warnings.simplefilter("ignore")
    absent = why_absent()
    names = [name for name in chosen or NETS if name in RANDOM or not absent]
    rows = [row for name in names for placement in PLACEMENTS for row in measure(name, placement)]
    print_table(rows, {"ratio": "{:.3f}"})
    if set(names) == set(NETS):
        write_json("size", rows)
        return 0
    if absent:
        print(absent, file=sys.stderr)
    return LEFT_OUT if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
