"""The runtimes that execute an ONNX file: what they answer, and which kernels they say they used."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ...util.extras import import_extra

__all__ = ["Executed", "OnnxRuntime", "OpenVino", "Runtime", "has_openvino"]


@dataclass(frozen=True)
class Executed:
    """A kernel that a runtime used: its own name for it, whether it computes in int8, and its time in microseconds."""

    kernel: str
    is_int8: bool
    microseconds: float


class Runtime(Protocol):
    """Runs ONNX models; construction fails with `MissingExtraError` where it is not installed."""

    name: str

    def run(self, model: bytes, inputs: Mapping[str, np.ndarray], plain: bool = False) -> dict[str, np.ndarray]:
        """The model's outputs by name; ``plain``: each operation computed as it is written, as far as the runtime offers that."""

    def executed(self, model: bytes, inputs: Mapping[str, np.ndarray], nodes: Sequence[Any]) -> dict[str, Executed]:
        """What the runtime used for each of these nodes of the model, by their names, as far as it says."""


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    name = "ONNX Runtime"

    def __init__(self) -> None:
        self._module = import_extra("onnxruntime", "onnx")

    def run(self, model: bytes, inputs: Mapping[str, np.ndarray], plain: bool = False) -> dict[str, np.ndarray]:
        """See `Runtime`."""
        options = self._options()
        if plain:
            options.graph_optimization_level = self._module.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = self._session(model, options)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def executed(self, model: bytes, inputs: Mapping[str, np.ndarray], nodes: Sequence[Any]) -> dict[str, Executed]:
        """See `Runtime`; from the second of two profiled runs."""
        with tempfile.TemporaryDirectory(prefix="ptq-profile-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder, "profile"))
            session = self._session(model, options)
            for _ in range(2):
                session.run(None, dict(inputs))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        times = {e["name"].removesuffix("_kernel_time"): e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")}
        found = {}
        for name, event in times.items():
            node = _longest_prefix(name.removeprefix("fused "), [node.name for node in nodes])
            kernel = event["args"]["op_name"]
            if node is not None and kernel not in ("Transpose", "Reshape", "ReorderInput", "ReorderOutput"):
                found[node] = Executed(kernel, kernel.startswith(("QLinear", "QGemm", "MatMulInteger")), float(event["dur"]))
        return found

    def _options(self) -> Any:
        options = self._module.SessionOptions()
        options.log_severity_level = 3  # its warnings about what it optimizes are not the user's business
        return options

    def _session(self, model: bytes, options: Any) -> Any:
        return self._module.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _longest_prefix(name: str, nodes: Iterable[str]) -> str | None:
    """The node that an event is called after: the runtime appends to the names of nodes that it merges or moves."""
    return max((node for node in nodes if name == node or name.startswith((f"{node}_", f"{node}/"))), key=len, default=None)


class OpenVino:
    """OpenVINO on the CPU."""

    name = "OpenVINO"

    def __init__(self) -> None:
        self._module = import_extra("openvino", "openvino")

    def run(self, model: bytes, inputs: Mapping[str, np.ndarray], plain: bool = False) -> dict[str, np.ndarray]:
        """See `Runtime`; it always optimizes."""
        del plain
        compiled = self._compile(model)
        results = compiled(dict(inputs))
        return {name: results[output] for output in compiled.outputs for name in output.get_names()}

    def executed(self, model: bytes, inputs: Mapping[str, np.ndarray], nodes: Sequence[Any]) -> dict[str, Executed]:
        """See `Runtime`; from the runtime model that it compiled."""
        compiled = self._compile(model, PERF_COUNT=True)
        request = compiled.create_infer_request()
        for _ in range(2):
            request.infer(dict(inputs))
        times = {item.node_name: item.real_time.microseconds for item in request.profiling_info}
        left, unclear, found = list(nodes), [], {}
        for op in compiled.get_runtime_model().get_ordered_ops():
            facts = {key: str(value.astype(str)) for key, value in op.get_rt_info().items() if key in self._FACTS}
            kind, precision = facts.get("layerType", ""), facts.get("runtimePrecision", "")
            if kind not in self._KINDS:
                continue
            used = Executed(f"{kind} {precision}", precision in ("u8", "i8"), float(times.get(op.get_friendly_name(), 0)))
            origins = set(facts.get("originalLayersNames", "").split(","))
            node = next((node for node in left if origins & {node.name, f"{node.name}/WithoutBiases", *node.output}), None)
            if node is None:
                unclear.append((kind, used))
            else:
                left.remove(node)
                found[node.name] = used
        for node in left:  # it lost the names of some: the first of the right kind that is left, in the order of the graph
            match = next((item for item in unclear if node.op_type in self._KINDS[item[0]]), None)
            if match is not None:
                unclear.remove(match)
                found[node.name] = match[1]
        return found

    _FACTS: ClassVar = ("originalLayersNames", "layerType", "runtimePrecision")
    _KINDS: ClassVar = {
        "Convolution": ("Conv",),
        "Deconvolution": ("ConvTranspose",),
        "FullyConnected": ("Gemm", "MatMul"),
        "MatMul": ("MatMul",),
    }

    def _compile(self, model: bytes, **properties: Any) -> Any:
        core = self._module.Core()
        # without the hint, float layers run in bfloat16 on some machines
        return core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32", **properties})


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None
