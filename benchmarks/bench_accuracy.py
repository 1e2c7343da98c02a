"""How near to the float model do the recipes come, at 8 bits and below?  A row at a time, on samples that no recipe saw.

python -m benchmarks.bench_accuracy [--again] [ROW ...]      a row is NET/RECIPE/PLACEMENT/BITS[/FLOAT]/DRAW; * and ? match many
python -m benchmarks.bench_accuracy --list

What is measured is kept after every row, and rows that are there are not run again; a row that was killed goes on after its last step.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

import ptq
from benchmarks.metrics import agreement, bits_per_byte, map_f1, softmax, sqnr, top1
from benchmarks.programs import ocr_folder
from benchmarks.real_nets import MEAN, NETS, STD, RealNet, data_folder, outputs, shared_module, text_lines, why_absent
from benchmarks.report import RESULTS, environment, print_table, write_json
from benchmarks.run_all import LEFT_OUT
from ptq.recovery.recipes import RECIPES

__all__ = ["ROWS", "Row", "measure", "net_of"]

BATCH = 16
DRAWS = {"fast": 3, "balanced": 3, "best": 1}
EIGHT, LOW = "8x8", ("6x6", "4x8", "4x4", "3x8")
FORMATS = dict.fromkeys(("SQNR dB", "held-back dB", "float passes", "GB"), "{:.2f}") | dict.fromkeys(("score", "float score"), "{:.5g}")


@dataclass(frozen=True)
class Row:
    """One measurement: widths are those of weights and activations, ``draw`` says which calibration samples."""

    net: str
    recipe: str
    placement: str
    bits: str = EIGHT
    float_macs: float = 0.0
    draw: int = 0

    @property
    def name(self) -> str:
        """What the command line calls it."""
        share = f"/{self.float_macs:g}" if self.float_macs else ""
        return f"{self.net}/{self.recipe}/{self.placement}/{self.bits}{share}/{self.draw}"


def rows() -> list[Row]:
    """Every row of the table."""
    names = [*NETS, "ppocr_v4_det", "ppocr_v4_rec"]
    cases = [
        (name, recipe, placement) for name in names for recipe, placement in (("balanced", "full"), ("best", "full"), ("best", "compute"))
    ]
    cases += [(name, "fast", "full") for name in names]
    found = [Row(name, recipe, placement, draw=draw) for name, recipe, placement in cases for draw in range(DRAWS[recipe])]
    found += [Row(name, "none", placement) for name in names for placement in ("full", "compute")]
    found += [Row("ppocr_v4_rec", "best", "full", float_macs=0.1)]
    return found + [Row("resnet20", recipe, "compute", bits) for bits in LOW for recipe in ("best", "balanced", "none")]


ROWS = {row.name: row for row in rows()}


def _program(role: str, calibration: np.ndarray, dev: np.ndarray) -> RealNet:
    return RealNet(ptq.load_program(ocr_folder(role)), calibration, dev, None, BATCH)


def _tiles() -> np.ndarray:
    pictures = shared_module().images(data_folder() / "text_tiles.npz")[0]
    return np.ascontiguousarray(((pictures / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2), dtype=np.float32)


PROGRAMS: dict[str, Callable[[], RealNet]] = {
    "ppocr_v4_det": lambda: _program("PP-OCRv4 detection", _tiles()[:64], _tiles()[64:]),
    "ppocr_v4_rec": lambda: _program("PP-OCRv4 recognition", text_lines()[:100], text_lines()[100:]),
}


def net_of(name: str) -> RealNet:
    """A net of the table, with its samples; raises ``FileNotFoundError`` where its program is not installed."""
    return NETS[name]() if name in NETS else PROGRAMS[name]()


def drawn(calibration: np.ndarray, draw: int) -> np.ndarray:
    """The calibration samples of a draw: all of them in order, or nine tenths in an order of their own."""
    if draw == 0:
        return calibration
    order = np.random.default_rng(draw).permutation(len(calibration))
    return calibration[order[: len(calibration) * 9 // 10]]


def compare(name: str, net: RealNet, expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """SQNR of what the net is judged by, and the score that suits it, with the float net's."""
    if name == "mobilenet_vww":
        expected, found = softmax(expected), softmax(found)
    row: dict[str, Any] = {"SQNR dB": sqnr(expected, found)}
    if name == "resnet20" and net.labels is not None:
        return row | {"measure": "top-1 %", "score": top1(found, net.labels), "float score": top1(expected, net.labels)}
    if name == "lm_python" and net.labels is not None:
        scores = (bits_per_byte(answer, net.labels) for answer in (found, expected))
        return row | dict(zip(("measure", "score", "float score"), ("bits per byte", *scores), strict=True))
    if name.endswith("det"):
        return row | {"measure": "F1 of the map %", "score": map_f1(expected, found), "float score": 100.0}
    if name.endswith("rec"):
        same = [_line(a) == _line(b) for a, b in zip(expected, found, strict=True)]
        return row | {"measure": "same lines %", "score": 100 * float(np.mean(same)), "float score": 100.0}
    return row | {"measure": "agreement %", "score": agreement(expected, found), "float score": 100.0}


def _line(probabilities: np.ndarray) -> list[int]:
    """What a text recognition reads: the likeliest classes, repetitions and the blank (0) left out."""
    classes = probabilities.argmax(-1)
    return [int(value) for value, before in zip(classes, [0, *classes[:-1]], strict=True) if value and value != before]


def measure(row: Row, state: Path | None = None) -> dict[str, Any]:
    """One row: quantized with the recipe's defaults, compared with the float net on the dev part."""
    net = net_of(row.net)
    expected = outputs(net.model, net.dev)
    samples = [
        paddle.to_tensor(part) for part in np.split(drawn(net.calibration, row.draw), range(net.batch, len(net.calibration), net.batch))
    ]
    samples = [sample for sample in samples if sample.shape[0]]
    start = time.process_time()
    with paddle.no_grad():
        for sample in samples:
            net.model(sample)
    one_pass = time.process_time() - start
    weight_bits, activation_bits = (int(part) for part in row.bits.split("x"))
    start = time.process_time()
    result = ptq.quantize_model(
        net.model,
        samples,
        recipe=None if row.recipe == "none" else row.recipe,
        weight_bits=None if weight_bits == 8 else weight_bits,
        activation_bits=None if activation_bits == 8 else activation_bits,
        placement=row.placement,
        max_float_macs=row.float_macs,
        resume=state,
    )
    passes = (time.process_time() - start) / one_pass
    recovery = result.report.recovery
    return {
        "row": row.name,
        **compare(row.net, net, expected, outputs(result.model, net.dev)),
        "held-back dB": None if recovery is None else recovery.last,
        "float passes": passes,
        "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
        "steps": [] if recovery is None else [str(rung) for rung in recovery.rungs],
    }


def known() -> dict[str, Any]:
    """Rows that were measured before, by name."""
    path = RESULTS / "accuracy.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}
    return {row["row"]: row for row in content["rows"]}


def main(arguments: Sequence[str]) -> int:
    """Runs the rows that are asked for and prints what is known of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--again", action="store_true", help="measure rows that are known already")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    options = parser.parse_args(arguments)
    names = [name for name in ROWS if not options.rows or any(fnmatch.fnmatchcase(name, pattern) for pattern in options.rows)]
    if options.list:
        print("\n".join(names))
        return 0
    for name in names:
        if name in known() and not options.again:
            continue
        state = RESULTS / "states" / f"{name.replace('/', '-')}.npz"
        print(name, flush=True)
        try:
            found = {**measure(ROWS[name], state), "cpu": environment()["machine"]["cpu"]}  # rows are measured on several machines
        except FileNotFoundError as error:
            print(f"  left out: {error}", file=sys.stderr)
            continue
        rows_now = {**known(), name: found}
        write_json(
            "accuracy", [rows_now[key] for key in ROWS if key in rows_now], recipes={key: value.to_dict() for key, value in RECIPES.items()}
        )
        state.unlink(missing_ok=True)
    table = [{key: value for key, value in row.items() if key not in ("steps", "cpu")} for key, row in known().items() if key in names]
    print_table(table, FORMATS)
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if why_absent():
        print(why_absent(), file=sys.stderr)
        sys.exit(LEFT_OUT)
    sys.exit(main(sys.argv[1:]))
