"""How near are the artifacts to the model in memory, in their own runtimes, on whole dev parts?  Placement ``full``, default settings.

python -m benchmarks.bench_artifacts [NET ...] [--items N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from benchmarks.metrics import sqnr, top1
from benchmarks.real_nets import NETS, batches, outputs, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from ptq import ImperativePTQ, PTQConfig
from ptq.export import create_int8_predictor
from quantizers.errors import QuantizationError

__all__ = ["RUNTIMES", "measure"]

Answer = Callable[[np.ndarray], np.ndarray]
MEASURED = ("resnet20", "mobilenet_vww", "ppocr_det", "ppocr_cls")


def _onnxruntime(prefix: str) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(f"{prefix}.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def _openvino(prefix: str) -> Answer:
    import openvino

    compiled = openvino.Core().compile_model(f"{prefix}.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: np.array(compiled(x)[0])


def _paddle_inference(prefix: str) -> Answer:
    predictor = create_int8_predictor(prefix)
    return lambda x: np.array(predictor.run([paddle.to_tensor(x)])[0].numpy())


RUNTIMES: dict[str, tuple[str, Callable[[str], Answer]]] = {
    "ONNX Runtime": ("onnx", _onnxruntime),
    "OpenVINO, float32": ("onnx", _openvino),
    "Paddle Inference": ("inference", _paddle_inference),
}


def measure(name: str, items: int | None) -> Iterator[dict[str, Any]]:
    """A row for the model in memory, and one for each runtime."""
    net = NETS[name]()
    dev, labels = net.dev[:items], None if net.labels is None else net.labels[:items]
    engine = ImperativePTQ(PTQConfig(placement="full"))
    model = engine.quantize(net.model, fuse=True)
    with paddle.no_grad():
        for batch in batches(net.calibration, net.batch):
            model(batch)
    model = engine.convert(model)
    floats, memory = outputs(net.model, dev, 10), outputs(model, dev, 10)

    def row(runtime: str, answers: np.ndarray | None, why_not: str = "") -> dict[str, Any]:
        found = {"net": name, "items": len(dev), "runtime": runtime, "against memory dB": None, "against float dB": None, "top-1 %": None}
        if answers is not None:
            found |= {"against memory dB": sqnr(memory, answers), "against float dB": sqnr(floats, answers)}
            found["top-1 %"] = None if labels is None or answers.ndim != 2 else top1(answers, labels)
        return {**found, "why not": why_not}

    yield row("float, in memory", floats)
    yield row("in memory", memory)
    with tempfile.TemporaryDirectory() as folder:
        refused = {}
        for kind in ("onnx", "inference"):
            try:
                engine.save_quantized_model(model, f"{folder}/{kind}/m", formats=("jit", kind), verbose=False)
            except QuantizationError as error:
                refused[kind] = str(error)[:300]
        for runtime, (kind, open_runtime) in RUNTIMES.items():
            if kind in refused:
                yield row(runtime, None, refused[kind])
                continue
            answer = open_runtime(str(Path(folder, kind, "m")))
            yield row(runtime, np.concatenate([answer(np.ascontiguousarray(part.numpy())) for part in batches(dev, 10)]))


def main() -> int:
    """Prints the table and, when all nets are measured on all items, writes ``results/artifacts.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", metavar="NET", help=f"out of {', '.join(MEASURED)} (default: all)")
    parser.add_argument("--items", type=int, help="only so many inputs of each dev part")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if why_absent():
        print(why_absent(), file=sys.stderr)
        return LEFT_OUT
    rows = [row for name in options.nets or MEASURED for row in measure(name, options.items)]
    print_table(rows, {"against memory dB": "{:.2f}", "against float dB": "{:.2f}", "top-1 %": "{:.2f}"})
    if not options.nets and options.items is None:
        write_json("artifacts", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
