"""A runtime that fuses otherwise where an inner value is read: the layers behind it are compared without reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")
from onnx_cases import Other, Written  # noqa: E402 - needs onnx

from ptq.export.onnx.check import check_runtime  # noqa: E402 - needs onnx
from ptq.export.report import RuntimeReport  # noqa: E402 - needs onnx


class Disturbed(Other):
    """Computes relu#1 otherwise when the integers of a grid are among the outputs; and so the answers, unless ``hidden``."""

    def __init__(self, grid: str, hidden: bool) -> None:
        super().__init__()
        self.grid, self.hidden, self.runs = f"{grid}:quantize", hidden, 0

    def run(self, model: bytes, inputs: Any, plain: bool = False) -> dict[str, np.ndarray]:
        answers = super().run(model, inputs, plain)
        self.runs += 1
        graph = onnx.load_from_string(model).graph
        integers = {node.name: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
        if integers[self.grid] in answers:
            answers[integers["relu#1:quantize"]] = answers[integers["relu#1:quantize"]] // 2
            for item in graph.output[: 0 if self.hidden else 1]:
                answers[item.name] = answers[item.name] + 1
        return answers


def report(tmp_path: Path, runtime: Disturbed) -> RuntimeReport:
    written = Written(tmp_path)
    model = onnx.load(str(written.file))
    given = {model.graph.input[0].name: written.inputs[0]}
    return check_runtime(str(written.file), model, runtime, given, written.expected, written.simulated, by_layer=True)


def test_what_reading_disturbs_is_not_read(tmp_path: Path) -> None:
    found = report(tmp_path, Disturbed("relu#0", hidden=False))
    assert not found.mismatch
    assert "without relu#0: read from outside" in "\n".join(found.notes)


def test_a_wrong_layer_whose_answers_stay_is_wrong(tmp_path: Path) -> None:
    assert "computes relu#1 differently" in report(tmp_path, Disturbed("relu#0", hidden=True)).mismatch


def test_a_layer_that_stays_wrong_is_wrong_and_found_soon(tmp_path: Path) -> None:
    runtime = Disturbed("relu#1", hidden=False)
    assert "computes relu#1 differently" in report(tmp_path, runtime).mismatch
    assert runtime.runs == 4  # the answers, all grids, the plain file to compare with, without relu#0
