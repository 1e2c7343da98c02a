"""A stage that measures nothing: times of layers as a test wants them, so that what is chosen is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from paddle import nn

from ptq.runtimes.profile import NodeTime
from ptq.tuning.stage import Stage

__all__ = ["ThreeConvs", "fake_times", "kernels_of", "total"]

COMPUTE = ("Conv", "MatMul", "Gemm")
Times = Mapping[str, tuple[float, float]]
CONVERSION = 1e-4


class ThreeConvs(nn.Layer):
    """Convolutions ``first``, ``second`` and ``third`` with ReLUs between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2D(3, 4, 3), nn.Conv2D(4, 4, 3), nn.Conv2D(4, 2, 3)

    def forward(self, x: Any) -> Any:
        x = nn.functional.relu(self.first(x))
        return self.third(nn.functional.relu(self.second(x)))


def kernels_of(file: Path, times: Times) -> list[NodeTime]:
    """A kernel for each compute operation, which takes the first time on integers and the second in float, and one for each conversion
    between float and integers that no convolution makes by itself."""
    graph = onnx.load(str(file)).graph
    producer = {value: node for node in graph.node for value in node.output}
    readers = {value: [node for node in graph.node if value in node.input] for node in graph.node for value in node.output}

    def is_int8(node: Any) -> bool:
        source = producer.get(node.input[0])
        weight = producer.get(node.input[1])
        return all(made is not None and made.op_type == "DequantizeLinear" for made in (source, weight))

    def computed_by(value: str) -> Any:
        node = producer.get(value)
        while node is not None and node.op_type not in COMPUTE:
            node = producer.get(node.input[0])
        return node

    found = []
    for node in graph.node:
        if node.op_type in COMPUTE:
            found.append(NodeTime((node.name,), times[node.name][0 if is_int8(node) else 1]))
        elif node.op_type == "QuantizeLinear":
            source = computed_by(node.input[0])
            if source is None or not is_int8(source):
                found.append(NodeTime((node.name,), CONVERSION))
        elif node.op_type == "DequantizeLinear" and node.input[0] in producer:
            users = readers[node.output[0]]
            found += [NodeTime((node.name,), CONVERSION)] * any(user.op_type not in COMPUTE or not is_int8(user) for user in users)
    return found


def total(file: Path, times: Times) -> float:
    """Seconds of one inference."""
    return sum(kernel.seconds for kernel in kernels_of(file, times))


def fake_times(monkeypatch: pytest.MonkeyPatch, times: Times, timed: Callable[[str, float], float] = lambda _, seconds: seconds) -> None:
    """Every stage takes these times for the truth, and small nets may lose accuracy.

    ``timed`` makes of the sum of an alternative's kernels what it takes as a whole.
    """

    def file(stage: Any, name: str) -> Path:
        return Path(stage._folder / f"{name}.onnx")

    monkeypatch.setattr("ptq.tuning.report.LOSS", 99.0)
    monkeypatch.setattr(Stage, "profile", lambda stage, name, _batch: kernels_of(file(stage, name), times))
    monkeypatch.setattr(
        Stage, "times", lambda stage, names, _batch: {name: [timed(name, total(file(stage, name), times))] * 3 for name in names}
    )
