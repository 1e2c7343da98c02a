"""Saved programs, opened as layers: do they answer as Paddle's own predictor, at what cost, and quantize as the nets they came from?

python -m benchmarks.bench_programs [replay] [cost] [alike] [agreement] [speed]

Parts that are not asked for keep the figures that the results have.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

import ptq
from benchmarks import detection
from benchmarks.metrics import sqnr
from benchmarks.programs import OCR, ocr_folder, predict, recurrent, save_family, save_legacy, save_net, why_no_ocr
from benchmarks.real_nets import NETS, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.zoo import FAMILIES, example
from ptq import ImperativePTQ, PTQConfig, PTQRegistry

__all__ = ["quantized_alike"]

COSTS = ("mobilenet_v2", "mobilenet_v3_small", "resnet18", "squeezenet1_1", "lenet", "transformer_encoder")
ROUNDS = 15


def _difference(layer: nn.Layer, program: Path, inputs: list[np.ndarray]) -> float:
    """The largest difference from the predictor, as a part of its largest answer."""
    worst = 0.0
    for x in inputs:
        with paddle.no_grad():
            got = paddle.utils.flatten(layer(paddle.to_tensor(x)))
        for have, want in zip(got, predict(program, [x]), strict=True):
            worst = max(worst, float(np.abs(have.numpy() - want).max() / np.abs(want).max()))
    return worst


def _row(net: str, program: Path, inputs: list[np.ndarray], fold_scales: bool = True) -> dict[str, Any]:
    layer = ptq.load_program(program, fold_scales=fold_scales)
    steps = layer._steps
    return {
        "net": net,
        "format": program.suffix,
        "scales folded": fold_scales,
        "shapes": " ".join("x".join(map(str, x.shape)) for x in inputs),
        "layers": sum(bool(step[0]) for step in steps),
        "replayed": sum(not step[0] for step in steps),
        "differs by": _difference(layer, program, inputs),
    }


def replay(folder: Path) -> Iterator[dict[str, Any]]:
    """Every net against the predictor, oneDNN off."""
    random = np.random.default_rng(0)
    for name, (_, shapes) in OCR.items() if not why_no_ocr() else ():
        inputs = [random.standard_normal(shape).astype("float32") for shape in shapes]
        for fold_scales in (False, True):
            yield _row(name, ocr_folder(name) / "inference.pdmodel", inputs, fold_scales)
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        save_net(recurrent(kind), folder / kind, [None, None, 8])
        yield _row(kind, folder / f"{kind}.json", [random.standard_normal((b, t, 8)).astype("float32") for b, t in ((1, 7), (4, 3))])
    for family in FAMILIES:
        inputs = [example(family, batch=batch, seed=5).numpy() for batch in (1, 3)]
        save_family(family, folder / family)
        yield _row(family, folder / f"{family}.json", inputs)
        trouble = save_legacy(family, folder / f"{family}_legacy")
        if trouble:
            print(f"{family} cannot be saved as .pdmodel: {trouble}", file=sys.stderr)
        else:
            yield _row(family, folder / f"{family}_legacy.pdmodel", inputs)


def cost(folder: Path) -> Iterator[dict[str, Any]]:
    """Processor time of one forward, in turns in one process, against `paddle.jit.load` of the same net saved as .json."""
    random = np.random.default_rng(0)
    for name, (short, shapes) in OCR.items() if not why_no_ocr() else ():
        layer = ptq.load_program(ocr_folder(name), fold_scales=False)
        paddle.jit.save(layer, str(folder / short), input_spec=layer.input_spec)
        yield _cost(name, folder / short, random.standard_normal(shapes[0]).astype("float32"))
    for family in COSTS:
        save_family(family, folder / family)
        yield _cost(family, folder / family, example(family, batch=1).numpy())
    save_net(recurrent("LSTM"), folder / "LSTM", [None, None, 8])
    yield _cost("LSTM", folder / "LSTM", random.standard_normal((1, 32, 8)).astype("float32"))


def _cost(net: str, program: Path, x: np.ndarray) -> dict[str, Any]:
    loaded, layer = paddle.jit.load(str(program)), ptq.load_program(program)
    loaded.eval()
    tensor, times = paddle.to_tensor(x), np.zeros((ROUNDS, 2))
    with paddle.no_grad():
        for model in (loaded, layer, loaded, layer):
            model(tensor)
        for number in range(ROUNDS):
            for column in (0, 1) if number % 2 else (1, 0):
                times[number, column] = _seconds((loaded, layer)[column], tensor)
    return {
        "net": net,
        "jit.load, ms": float(np.median(times[:, 0])) * 1e3,
        "load_program, ms": float(np.median(times[:, 1])) * 1e3,
        "ratio": float(np.median(times[:, 1] / times[:, 0])),
        "ratio of fastest": float(times[:, 1].min() / times[:, 0].min()),
    }


def _seconds(model: Callable[[paddle.Tensor], Any], x: paddle.Tensor) -> float:
    start = time.process_time()
    model(x)
    return time.process_time() - start


def quantized_alike(name: str, folder: Path) -> dict[str, Any]:
    """A real net quantized from its class and from its saved program: grids layer by layer in order, and answers.

    Batch norms are not folded: where a class adds a bias in an operation of its own (text detection does, once) nothing can be folded
    through it, while the program, whose bias is part of its layer, lets the batch norm behind it fold, and is quantized better.
    """
    net = NETS[name]()
    x = net.calibration[: 2 * net.batch]
    shape = [None, *x.shape[1:]]
    save_net(net.model, folder / name, shape, str(x.dtype))
    grids, outputs = [], []
    for model in (net.model, ptq.load_program(folder / name)):
        engine = ImperativePTQ(PTQConfig())
        calibrated = engine.quantize(model, fuse=False)
        with paddle.no_grad():
            for start in range(0, len(x), net.batch):
                calibrated(paddle.to_tensor(x[start : start + net.batch]))
            converted = engine.convert(calibrated)
            outputs.append(converted(paddle.to_tensor(net.dev[: net.batch])).numpy())
        grids.append(_scales(converted, paddle.to_tensor(net.dev[:1])))
    if len(grids[0]) != len(grids[1]):
        worst = math.inf
    else:
        worst = max(float(np.max(np.abs(a - b) / np.abs(a).max())) if a.shape == b.shape else math.inf for a, b in zip(*grids, strict=True))
    return {
        "net": name,
        "grids": len(grids[0]),
        "grids of the program": len(grids[1]),
        "largest difference of grids": worst,
        "answers differ": float(np.abs(outputs[1] - outputs[0]).max() / np.abs(outputs[0]).max()),
        "answers, dB": sqnr(outputs[0], outputs[1]),
    }


def _scales(model: nn.Layer, x: paddle.Tensor) -> list[np.ndarray]:
    """The scales of all quantized layers, in the order in which a forward calls them: names differ, the order does not."""
    found: dict[int, list[np.ndarray]] = {}

    def note(layer: nn.Layer, *_: Any) -> None:
        found[id(layer)] = [buffer.numpy().reshape(-1) for name, buffer in layer.named_buffers() if name.endswith("scale")]

    quantized = [layer for layer in model.sublayers() if PTQRegistry.is_quantized_layer(layer)]
    hooks = [layer.register_forward_post_hook(note) for layer in quantized]
    with paddle.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return [scale for scales in found.values() for scale in scales]


def alike(folder: Path) -> Iterator[dict[str, Any]]:
    """All real nets."""
    for name in () if why_absent() else NETS:
        yield quantized_alike(name, folder)


PARTS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "replay": replay,
    "cost": cost,
    "alike": alike,
    "agreement": detection.agreement,
    "speed": detection.speed,
}
FORMATS = {
    **dict.fromkeys(("differs by", "largest difference of grids", "answers differ"), "{:.1e}"),
    **dict.fromkeys(("jit.load, ms", "load_program, ms", "ratio", "ratio of fastest"), "{:.2f}"),
    **dict.fromkeys(("answers, dB", "map, dB", "map > 0.3, F1 %", "float, ms", "int8, ms"), "{:.1f}"),
    **dict.fromkeys(("times faster", "size"), "{:.2f}"),
}


def _misses(row: dict[str, Any]) -> bool:
    if "differs by" in row:
        return bool(row["differs by"] > 1e-5)
    if "ratio" in row:
        return bool(row["ratio"] > 1.05)
    if "largest difference of grids" not in row:
        return False  # figures without a limit of their own
    return bool(row["largest difference of grids"] > 1e-6 or (row["answers differ"] > 1e-5 and row["answers, dB"] < 40))


def main(parts: list[str]) -> int:
    """Prints a table for each part; the exit status is the number of rows that miss their limit."""
    warnings.simplefilter("ignore")
    rows, missed = _kept(parts or list(PARTS)), 0
    for part in parts or PARTS:
        found = []
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[part](Path(folder)):
                row["ok"] = not _misses(row)
                found.append(row)
                print(part, row["net"], "ok" if row["ok"] else "MISSED", file=sys.stderr)
        missed += sum(not row["ok"] for row in found)
        if found:
            print_table(found, FORMATS)
            rows += [{"part": part, **row} for row in found]
            write_json("programs", rows)
        else:
            print(f"{part}: {why_no_ocr() or why_absent()}")
    return missed


def _kept(parts: list[str]) -> list[dict[str, Any]]:
    """What the results have of other parts."""
    path = Path(__file__).parent / "results" / "programs.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    return [row for row in rows if row["part"] not in parts]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
