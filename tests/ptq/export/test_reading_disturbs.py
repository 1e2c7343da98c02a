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
    """Computes relu#1 otherwise when the integers of relu#0 are among the outputs; and so the answers, unless ``hidden``."""

    def __init__(self, hidden: bool) -> None:
        super().__init__()
        self.hidden = hidden

    def run(self, model: bytes, inputs: Any, plain: bool = False) -> dict[str, np.ndarray]:
        answers = super().run(model, inputs, plain)
        graph = onnx.load_from_string(model).graph
        integers = {node.name: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
        if integers["relu#0:quantize"] in answers:
            answers[integers["relu#1:quantize"]] = answers[integers["relu#1:quantize"]] // 2
            for item in graph.output[: 0 if self.hidden else 1]:
                answers[item.name] = answers[item.name] + 1
        return answers


def report(tmp_path: Path, hidden: bool) -> RuntimeReport:
    written = Written(tmp_path)
    model = onnx.load(str(written.file))
    given = {model.graph.input[0].name: written.inputs[0]}
    return check_runtime(str(written.file), model, Disturbed(hidden), given, written.expected, written.simulated, by_layer=True)


def test_what_reading_disturbs_is_not_read(tmp_path: Path) -> None:
    found = report(tmp_path, hidden=False)
    assert not found.mismatch
    assert "without relu#0: read from outside" in "\n".join(found.notes)


def test_a_wrong_layer_whose_answers_stay_is_wrong(tmp_path: Path) -> None:
    assert "computes relu#1 differently" in report(tmp_path, hidden=True).mismatch
