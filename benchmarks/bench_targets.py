"""What does a target win on real nets?  ``any`` in ONNX Runtime and ``openvino`` in OpenVINO, from the artifacts, against float.

python -m benchmarks.bench_targets [NET ...]

One calibration of each net, default settings, placement ``full``, batch norms folded; whole dev parts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

import ptq
from benchmarks.metrics import agreement, map_f1, sqnr, top1
from benchmarks.programs import ocr_folder, why_no_ocr
from benchmarks.real_nets import NETS, batches, text_lines, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from ptq import ImperativePTQ, PTQConfig
from ptq.runtimes import onnxruntime, openvino

__all__ = ["SUBJECTS", "measure"]

Array = np.ndarray[Any, Any]
Answer = Callable[[Array], Array]
BLANK = 0  # of a recognition model


@dataclass
class Subject:
    """A float net with its calibration batches and dev batches; ``shown``: what is compared of its answers; ``figure``: named, in %."""

    model: nn.Layer
    calibration: Sequence[Array]
    dev: Sequence[Array]
    shown: Callable[[Array], Array] = field(default=lambda answers: answers)
    figure: tuple[str, Callable[[Array, Array], float]] | None = None


def _split(x: Array, size: int) -> list[Array]:
    return [np.ascontiguousarray(batch.numpy()) for batch in batches(x, size)]


def _texts(answers: Array) -> list[list[int]]:
    """The characters of each line: repeated ones and blanks dropped."""
    best = answers.argmax(-1).tolist()
    return [[now for before, now in zip([BLANK, *line], line, strict=False) if now not in (before, BLANK)] for line in best]


def _same_lines(expected: Array, found: Array) -> float:
    return float(100 * np.mean([a == b for a, b in zip(_texts(expected), _texts(found), strict=True)]))


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    result: Array = powers / powers.sum(-1, keepdims=True)
    return result


def _net(name: str, dev_batch: int, **more: Any) -> Subject:
    net = NETS[name]()
    return Subject(net.model, _split(net.calibration, net.batch), _split(net.dev, dev_batch), **more)


def _resnet20() -> Subject:
    labels = NETS["resnet20"]().labels
    assert labels is not None
    return _net("resnet20", 50, figure=("top-1 %", lambda _, found: top1(found, labels)))


def _detection() -> Subject:
    tiles = NETS["ppocr_det"]()
    model = ptq.load_program(ocr_folder("PP-OCRv4 detection"))
    return Subject(model, _split(tiles.calibration, 1), _split(tiles.dev, 1), figure=("map F1 %", map_f1))


def _recognition() -> Subject:
    lines = text_lines()
    model = ptq.load_program(ocr_folder("PP-OCRv4 recognition"))
    return Subject(model, _split(lines[:100], 10), _split(lines[100:], 10), figure=("same lines %", _same_lines))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "ResNet-20": _resnet20,
    "MobileNet VWW": lambda: _net("mobilenet_vww", 10, shown=_softmax, figure=("agreement %", agreement)),
    "PP-OCR direction": lambda: _net("ppocr_cls", 10, figure=("agreement %", agreement)),
    "PP-OCR detection v2": lambda: _net("ppocr_det", 10, figure=("map F1 %", map_f1)),
    "PP-OCRv4 detection": _detection,
    "PP-OCRv4 recognition": _recognition,
}
SAVED = ("PP-OCRv4 detection", "PP-OCRv4 recognition")


def _onnxruntime(prefix: str) -> Answer:
    session = onnxruntime.open_session(f"{prefix}.onnx")
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def _openvino(prefix: str) -> Answer:
    network = openvino.compiled(f"{prefix}.openvino.xml", properties=openvino.FLOAT32)
    return lambda x: np.array(network(x)[0])


RUNTIMES: dict[str, tuple[str, str, Callable[[str], Answer]]] = {
    "any": (onnxruntime.ONNX_RUNTIME, "onnx", _onnxruntime),
    "openvino": (openvino.OPENVINO, "openvino", _openvino),
}


def _answers(answer: Answer, parts: Sequence[Array]) -> Array:
    return np.concatenate([answer(part) for part in parts])


def _in_memory(model: nn.Layer) -> Answer:
    def answer(x: Array) -> Array:
        with paddle.no_grad():
            return np.asarray(model(paddle.to_tensor(x)).numpy())

    return answer


def measure(name: str) -> Iterator[dict[str, Any]]:
    """A row for each target."""
    subject, engine = SUBJECTS[name](), ImperativePTQ(PTQConfig(placement="full"))
    calibrated = engine.quantize(subject.model, fuse=True)
    ptq.calibrate(calibrated, subject.calibration, progress=False)
    floats = _answers(_in_memory(subject.model), subject.dev)
    for target, (runtime, kind, opened) in RUNTIMES.items():
        model = engine.convert(calibrated, inplace=False, target=target)
        memory = _answers(_in_memory(model), subject.dev)
        with tempfile.TemporaryDirectory() as folder:
            engine.save_quantized_model(model, f"{folder}/m", formats=(kind,), verbose=False)
            found = _answers(opened(str(Path(folder, "m"))), subject.dev)
        shown = [subject.shown(each) for each in (floats, memory, found)]
        what, figure = subject.figure or ("", None)
        yield {
            "net": name,
            "items": len(floats),
            "target": target,
            "runtime": runtime,
            "dB": sqnr(shown[0], shown[2]),
            "in memory, dB": sqnr(shown[0], shown[1]),
            "figure": what,
            "of it": None if figure is None else figure(floats, found),
            "in memory": None if figure is None else figure(floats, memory),
        }


def main() -> int:
    """Prints the table and, when all nets are measured, writes ``results/targets.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", metavar="NET", help=f"out of {', '.join(SUBJECTS)} (default: all)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if why_absent():
        print(why_absent(), file=sys.stderr)
        return LEFT_OUT
    asked = options.nets or list(SUBJECTS)
    names = [name for name in asked if not (name in SAVED and why_no_ocr())]
    rows = []
    for name in names:
        rows += list(measure(name))
        print(f"{name} done", file=sys.stderr)
    print_table(rows, dict.fromkeys(("dB", "in memory, dB", "of it", "in memory"), "{:.2f}"))
    if names == list(SUBJECTS):
        write_json("targets", rows)
    if names != asked:
        print(why_no_ocr(), file=sys.stderr)
    return LEFT_OUT if names != asked else 0


if __name__ == "__main__":
    sys.exit(main())
