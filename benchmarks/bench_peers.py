"""How fast are the files beside those of other tools, in the same runtime, from the same float file?

python -m benchmarks.bench_peers [NET ...] [--seconds S]

NNCF against ours in OpenVINO, `quantize_static` of ONNX Runtime against ours there; one thread, batch 1, in turns, CPU time.  Speed does
not depend on the weights: nets of `paddle.vision` have random ones, batch norms of one batch.  ``fastest`` is that placement for ONNX
Runtime.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec
from paddle.vision import models

import ptq
from benchmarks.peers import NNCF, ONNX_RUNTIME, why_no_nncf
from benchmarks.programs import ocr_folder, why_no_ocr
from benchmarks.real_nets import NETS as REAL_NETS
from benchmarks.real_nets import in_fours, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from benchmarks.zoo import settle
from ptq import ImperativePTQ, PTQConfig
from ptq.runtimes import onnxruntime, openvino
from ptq.runtimes.timing import clock_for, compare, interleave
from ptq.tuning import Conditions
from ptq.tuning.fastest import find_fastest

__all__ = ["NETS", "made", "measured"]

IMAGE = (3, 224, 224)
DETECTION = "PP-OCRv4 detection"
SAMPLES, ROUNDS = 8, 15
OURS, FASTEST = ("any", "onnxruntime", "openvino"), "fastest"
Array = np.ndarray[Any, Any]


def _random(name: str) -> tuple[nn.Layer, Array]:
    paddle.seed(0)
    model = getattr(models, name)()
    images = np.random.default_rng(0).standard_normal((SAMPLES, *IMAGE)).astype("float32")
    model.eval()
    settle(model, paddle.to_tensor(images))
    return model, images


def _detection(name: str) -> tuple[nn.Layer, Array]:
    return ptq.load_program(ocr_folder(name)), in_fours(REAL_NETS["ppocr_det"]().calibration)[:SAMPLES]


# what makes a net and its calibration inputs, and the shape to measure with
NETS: dict[str, tuple[Callable[[str], tuple[nn.Layer, Array]], tuple[int, ...]]] = {
    **dict.fromkeys(("mobilenet_v2", "resnet50", "mobilenet_v3_large"), (_random, (1, *IMAGE))),
    DETECTION: (_detection, (1, 3, 640, 640)),
}


def made(name: str, folder: Path) -> None:
    """Writes all files of a net: ``float.onnx``, ``nncf.xml``, ``static.onnx``, and ours, named after their targets."""
    model, samples = NETS[name][0](name)
    spec = getattr(model, "input_spec", None) or [InputSpec([None, *samples.shape[1:]], "float32")]
    engine = ImperativePTQ(PTQConfig(placement="full"))
    calibrated = engine.quantize(model, fuse=True)
    ptq.calibrate(calibrated, [sample[None] for sample in samples], progress=False)
    for target in OURS:
        converted = engine.convert(calibrated, inplace=False, target=target)
        formats = ("openvino",) if target == "openvino" else ("onnx",)
        engine.save_quantized_model(converted, str(folder / target), spec, formats=formats, float_baseline=target == "any", verbose=False)
    save = {"formats": ("onnx",), "float_baseline": False, "verbose": False}
    for_runtime = ImperativePTQ(PTQConfig(placement="full", target="onnxruntime"))
    calibrated = for_runtime.quantize(model, fuse=True)
    ptq.calibrate(calibrated, [sample[None] for sample in samples], progress=False)
    tuned = find_fastest(calibrated, for_runtime, Conditions(batches=(1,), threads=1)).model
    for_runtime.save_quantized_model(tuned, str(folder / FASTEST), spec, **save)
    (folder / "float_any.onnx").rename(folder / "float.onnx")
    np.save(folder / "samples.npy", samples)
    for tool, target in ((NNCF, "nncf.xml"), (ONNX_RUNTIME, "static.onnx")):
        arguments = [tool, *(str(folder / each) for each in ("float.onnx", "samples.npy", target))]
        done = subprocess.run([sys.executable, "-m", "benchmarks.peers", *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{tool} fails on {name}: {done.stderr[-500:]}")


def measured(folder: Path, shape: Sequence[int], seconds: float) -> Iterator[dict[str, Any]]:
    """A row for each of our files: the peer's time over ours; files as `made` wrote them."""
    feeds = [np.random.default_rng(0).standard_normal(shape).astype("float32")]
    runtimes = {
        openvino.OPENVINO: (
            {"float": "float.onnx", NNCF: "nncf.xml", "ours, openvino": "openvino.openvino.xml", "ours, any": "any.onnx"},
            lambda file: openvino.load(file, feeds, 1, openvino.FLOAT32),
        ),
        onnxruntime.ONNX_RUNTIME: (
            {"float": "float.onnx", ONNX_RUNTIME: "static.onnx", "ours, any": "any.onnx"}
            | {f"ours, {name}": f"{name}.onnx" for name in ("onnxruntime", FASTEST)},
            lambda file: onnxruntime.load(file, feeds, 1),
        ),
    }
    for runtime, (files, load) in runtimes.items():
        times = interleave({label: load(str(folder / file)) for label, file in files.items()}, ROUNDS, seconds, clock_for(1))
        floats, peer, *ours = files
        for label in ours:
            found = compare(times[peer], times[label])
            yield {
                "runtime": runtime,
                "peer": peer,
                "file": label,
                "peer, ms": found.float_ms,
                "ours, ms": found.int8_ms,
                "peer / ours": found.ratio,
                "quartiles": f"{found.low:.2f} to {found.high:.2f}",
                "float / ours": compare(times[floats], times[label]).ratio,
                "rounds": found.rounds,
            }


def main() -> int:
    """Prints the table and, when all nets are measured, writes ``results/peers.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", metavar="NET", help=f"out of {', '.join(NETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="at least so long for each runtime and net")
    parser.add_argument("--folder", type=Path, help="keep the files here, and take those that are here already")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if why_no_nncf():
        print(why_no_nncf(), file=sys.stderr)
        return LEFT_OUT
    asked = options.nets or list(NETS)
    why_not = why_no_ocr() or why_absent()
    names = [name for name in asked if not (name == DETECTION and why_not)]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: (options.folder or Path(temporary)) / name.replace(" ", "_") for name in names}
        for name, folder in folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "static.onnx").is_file():
                made(name, folder)
        for name, folder in folders.items():
            rows += [{"net": name, **row} for row in measured(folder, NETS[name][1], options.seconds)]
    print_table(rows, dict.fromkeys(("peer, ms", "ours, ms", "peer / ours", "float / ours"), "{:.2f}"))
    if names == list(NETS):
        write_json("peers", rows, seconds=options.seconds)
    if names != asked:
        print(why_not, file=sys.stderr)
    return LEFT_OUT if names != asked else 0


if __name__ == "__main__":
    sys.exit(main())
