"""Tiny artifacts to measure, and runtimes that answer with given times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ptq.bench.task import Task
from ptq.export.baseline import baseline_path
from ptq.export.manifest import MANIFEST_SUFFIX, write_manifest
from ptq.runtimes.profile import OpTime

ALL = (".json", ".pdiparams", ".onnx", ".infer.pdmodel", ".infer.pdiparams")
IMAGES = ({"shape": [None, 3, 8, 8], "dtype": "paddle.float32"},)


def write_artifact(
    prefix: Path, inputs: Sequence[Mapping[str, Any]] = IMAGES, suffixes: Sequence[str] = ALL, size: int = 1000, **facts: Any
) -> Path:
    """Files of zeros that do not exist yet, with their manifest."""
    files = {suffix: Path(f"{prefix}{suffix}") for suffix in suffixes}
    for file in files.values():
        if not file.exists():
            file.write_bytes(bytes(size))
    write_manifest(Path(f"{prefix}{MANIFEST_SUFFIX}"), files, {"inputs": list(inputs), **facts})
    return prefix


def write_pair(folder: Path, **options: Any) -> str:
    """An int8 artifact and, beside it, its float baseline of four times the size."""
    write_artifact(folder / "float_model", **{**options, "size": 4000})
    return str(write_artifact(folder / "model", **options))


class FakeRuntimes:
    """Answers tasks from tables, and remembers them.

    ``times``: seconds of one run by runtime and alternative; ``profiles``: by alternative; ``failing``: the runtimes that fail, and how.
    """

    def __init__(
        self,
        times: Mapping[str, Mapping[str, float]],
        profiles: Mapping[str, Sequence[OpTime]] | None = None,
        failing: Mapping[str, Exception] | None = None,
    ) -> None:
        self.times, self.profiles, self.failing = times, profiles or {}, failing or {}
        self.tasks: list[Task] = []

    def __call__(self, task: Task) -> Any:
        self.tasks.append(task)
        if task.runtime in self.failing:
            raise self.failing[task.runtime]
        if task.action == "time":
            return {label: [seconds * drift for drift in (1.0, 2.0, 3.0)] for label, seconds in self.times[task.runtime].items()}
        if task.action == "memory":
            return 50.0 if task.label == "int8" else 80.0
        return [asdict(item) for item in self.profiles.get(task.label, ())]


def write_onnx_pair(prefix: Path) -> str:
    """A convolution of ``[n, 3, 8, 8]`` in float, and the same between QuantizeLinear and DequantizeLinear."""
    from onnx import TensorProto, helper, numpy_helper, save

    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype("float32")
    scale, zero = np.float32(0.05), np.uint8(128)
    constants = {"s": np.array(scale), "z": np.array(zero), "wq": (weight * 20).round().clip(-127, 127).astype("int8"), "wz": np.int8(0)}
    quantized = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "wz"], ["w"]),
        helper.make_node("Conv", ["xd", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"]),
    ]
    plain = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    for path, nodes, tensors in ((baseline_path(prefix), plain, {"w": weight}), (f"{prefix}", quantized, constants)):
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 8, 8])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
        )
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), f"{path}.onnx")
        write_artifact(Path(path), suffixes=[".onnx"])
    return str(prefix)
