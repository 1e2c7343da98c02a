"""PP-OCRv4 detection from its saved program, placement ``full``: speed in its runtimes, and whether it sees the same text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle

import ptq
from benchmarks.metrics import map_f1, sqnr
from benchmarks.programs import ocr_folder, why_no_ocr
from benchmarks.real_nets import NETS, why_absent
from ptq.runtimes import onnxruntime, openvino
from ptq.runtimes.cpu import this_cpu
from ptq.runtimes.timing import clock_for, compare, interleave

__all__ = ["agreement", "speed"]

NAME, TILES = "PP-OCRv4 detection", "ppocr_det"
SIZE, ROUNDS, SECONDS = (640, 640), 9, 20.0
PLACEMENTS = ("compute", "full")


def _maps(model: Any, tiles: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return np.concatenate([model(paddle.to_tensor(tile[None])).numpy() for tile in tiles])


def _quantized(placement: str, pictures: np.ndarray) -> ptq.QuantizeResult:
    batches = [picture[None] for picture in pictures]
    return ptq.quantize_model(ocr_folder(NAME), batches, placement=placement, recipe=None, progress=False)


def agreement(_folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each placement: the map of int8 against that of float, on text tiles that did not calibrate."""
    if why_no_ocr() or why_absent():
        return
    tiles = NETS[TILES]()
    expected = _maps(ptq.load_program(ocr_folder(NAME)), tiles.dev)
    for placement in PLACEMENTS:
        found = _maps(_quantized(placement, tiles.calibration).model, tiles.dev)
        yield {"net": f"{NAME}, {placement}", "map > 0.3, F1 %": map_f1(expected, found), "map, dB": sqnr(expected, found)}


def speed(folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each runtime: float against int8 with placement ``full`` at ``SIZE``, batch 1, one thread."""
    if why_no_ocr() or why_absent():
        return
    _quantized("full", NETS[TILES]().calibration[:8]).save(folder / "det", formats=("onnx",), float_baseline=True, verbose=False)
    files = {"float": str(folder / "float_det.onnx"), "int8": str(folder / "det.onnx")}
    feeds = [np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype("float32")]
    exact = this_cpu().saturates

    def session_run(file: str) -> Any:
        session = onnxruntime.open_session(file, 1, exact=exact)
        name = session.get_inputs()[0].name
        return lambda: session.run(None, {name: feeds[0]})

    loads = {
        "ONNX Runtime, exact sums" if exact else "ONNX Runtime": session_run,
        "OpenVINO, against float32": lambda file: openvino.load(file, feeds, 1, openvino.FLOAT32),
    }
    for name, load in loads.items():
        times = interleave({kind: load(file) for kind, file in files.items()}, ROUNDS, SECONDS, clock_for(1))
        found = compare(times["float"], times["int8"])
        yield {
            "net": f"{NAME}, {name}",
            "float, ms": found.float_ms,
            "int8, ms": found.int8_ms,
            "times faster": found.ratio,
            "quartiles": f"{found.low:.2f} to {found.high:.2f}",
            "size": Path(files["int8"]).stat().st_size / Path(files["float"]).stat().st_size,
            "int8 dot products": "no" if exact else "yes",
        }
