"""Does every family of `paddle.vision.models`, and a transformer, run in int8 in each runtime, layer by layer as the model in memory?

python -m benchmarks.bench_export [FAMILY ...]
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec

from benchmarks.report import print_table, write_json
from benchmarks.zoo import FAMILIES, example, make
from ptq import ImperativePTQ, PTQConfig
from ptq.export import RuntimeReport
from ptq.export.call import answer_of
from ptq.export.inference.artifact import check_inference, write_inference
from ptq.export.jit.program import write_jit
from ptq.export.onnx.check import check_onnx
from ptq.export.onnx.write import parameter_names, write_onnx
from quantizers.errors import QuantizationError

__all__ = ["measure"]


def _quantized(family: str) -> tuple[nn.Layer, paddle.Tensor]:
    engine = ImperativePTQ(PTQConfig(placement="full"))
    model = engine.quantize(make(family), fuse=True)
    with paddle.no_grad():
        model(example(family, seed=2))
        model(example(family, seed=3))
    return engine.convert(model), example(family, batch=2, seed=2)


def _reports(model: nn.Layer, x: paddle.Tensor, folder: str) -> list[RuntimeReport | tuple[str, str]]:
    """What each runtime made of the model; a pair of format and message for one that could not be written or differs."""
    prefix, names = f"{folder}/m", parameter_names(model)
    simulated, file = Path(f"{folder}/simulated.onnx"), Path(f"{folder}/m.onnx")
    with paddle.no_grad():
        expected = [answer.numpy() for answer in answer_of(model, [x])]
    write_jit(model, prefix, [InputSpec([None, *x.shape[1:]], "float32")])
    found: list[RuntimeReport | tuple[str, str]] = []
    try:
        write_onnx(prefix, file, simulated, names)
        found += check_onnx(file, [x.numpy()], expected, simulated, by_layer=True)
    except QuantizationError as error:
        found.append(("ONNX", str(error)))
    try:
        write_inference(prefix, prefix, names)
        found += check_inference(prefix, [x.numpy()], expected, names)
    except QuantizationError as error:
        found.append(("Paddle Inference", str(error)))
    return found


def measure(family: str) -> list[dict[str, Any]]:
    """One row for each runtime: compute layers in int8, SQNR against the model in memory, and the verdict layer by layer."""
    model, x = _quantized(family)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for report in _reports(model, x, folder):
            if isinstance(report, tuple):
                runtime, message = report
                rows.append({"family": family, "runtime": runtime, "int8": "failed", "dB": float("nan"), "float": message, "layers": ""})
                continue
            left = "; ".join(f"{kernel.name}: {kernel.reason}" for kernel in report.kernels if not kernel.is_int8)
            within = [note.strip() for note in report.notes if "within one step" in note]
            rows.append(
                {
                    "family": family,
                    "runtime": report.runtime,
                    "int8": f"{sum(kernel.is_int8 for kernel in report.kernels)}/{len(report.kernels)}",
                    "dB": report.sqnr_db,
                    "float": left[:100],
                    "layers": "within one step" if within else " ".join(report.notes)[:100],
                }
            )
    return rows


def main(families: Sequence[str]) -> None:
    """Measures, and writes ``results/export.json`` when all families are measured."""
    warnings.filterwarnings("ignore", category=UserWarning, module="paddle")
    rows: list[dict[str, Any]] = []
    for family in families or FAMILIES:
        found = measure(family)
        rows += found
        print_table(found, {"dB": "{:.1f}"})
        sys.stdout.flush()
    if not families:
        write_json("export", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
