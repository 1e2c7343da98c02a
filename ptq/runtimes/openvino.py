"""OpenVINO on the CPU, on ONNX files and those of its own format."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from quantizers.errors import ArtifactError

from ..util.extras import import_extra
from .profile import COMPUTE, CONVERSION, INT8, OTHER, Executed, NodeTime, OpTime, Run, summed

__all__ = [
    "FLOAT32",
    "OPENVINO",
    "OWN_FILE",
    "PRECISION",
    "OpenVino",
    "compiled",
    "default_precision",
    "has_openvino",
    "load",
    "node_times",
    "profile",
]

OPENVINO = "OpenVINO"
# The runtime on a model in its own format, for people.
OWN_FILE = "OpenVINO, own file"
PRECISION = "INFERENCE_PRECISION_HINT"
# What is float in a file is computed in float32; without it, in bfloat16 on some machines.
FLOAT32 = {PRECISION: "f32"}
# Products with weights of 4 or 8 bits round their other operand to 8 bits in blocks, unless told otherwise.
FLOAT_ACTIVATIONS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
COMPUTES = ("Convolution", "FullyConnected", "MatMul", "Deconvolution", "ScaledDotProductAttention")
CONVERSIONS = ("Reorder", "Convert", "FakeQuantize", "Quantize")
WARM_UP, INFERENCES = 2, 20


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def default_precision() -> str:
    """What OpenVINO itself computes float layers in on this machine: ``"f32"`` or ``"bf16"``."""
    return str(import_extra("openvino", "openvino").Core().get_property("CPU", PRECISION).to_string())


def compiled(
    model: str | bytes,
    shapes: Sequence[Sequence[int]] | None = None,
    properties: Mapping[str, Any] | None = None,
    outputs: Iterable[str] = (),
) -> Any:
    """A compiled model.

    Args:
        model: an ONNX file, or its content, or the ``.xml`` file of OpenVINO's own format.
        shapes: of the inputs, to compile for; those of the model when ``None``.
        properties: as OpenVINO calls them.
        outputs: names of values that it shall answer with, besides its own outputs.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ArtifactError: the model has another number of inputs.
    """
    core = import_extra("openvino", "openvino").Core()
    network = core.read_model(model)
    if shapes is not None:
        if len(network.inputs) != len(shapes):
            raise ArtifactError(f"{model!r} has {len(network.inputs)} inputs, the manifest lists {len(shapes)}; save the model again")
        network.reshape({port: list(shape) for port, shape in zip(network.inputs, shapes, strict=True)})
    own = {name for output in network.outputs for name in output.get_names()}
    network.add_outputs([name for name in outputs if name not in own])
    return core.compile_model(network, "CPU", dict(properties or {}))


def load(file: str, feeds: Sequence[np.ndarray], threads: int, precision: Mapping[str, str] | None = None) -> Run:
    """One inference of a file, compiled for the shapes of ``feeds``; what is float in it has the runtime's precision or the given one."""
    request = _request(file, feeds, threads, precision or {})
    return lambda: request.infer(list(feeds))


def profile(file: str, feeds: Sequence[np.ndarray], threads: int, precision: Mapping[str, str] | None = None) -> list[OpTime]:
    """Time of each type of operation in one inference, from the runtime's own counters."""
    request = _request(file, feeds, threads, {"PERF_COUNT": "YES", **(precision or {})})
    for _ in range(WARM_UP):
        request.infer(list(feeds))
    first = {item.node_name: item.cpu_time.total_seconds() for item in request.profiling_info}
    for _ in range(INFERENCES):
        request.infer(list(feeds))
    ran = [item for item in request.profiling_info if item.status == item.Status.EXECUTED]
    seconds = [since(first.get(item.node_name, 0.0), item.cpu_time.total_seconds()) for item in ran]
    return summed([(*kind(item.node_type, item.exec_type), time) for item, time in zip(ran, seconds, strict=True)], 1)


def node_times(file: str, feeds: Sequence[np.ndarray], threads: int, precision: Mapping[str, str] | None = None) -> list[NodeTime]:
    """Every kernel of one inference, its time a mean of several, with the names of the model's operations that it computes."""
    network = _network(file, feeds, threads, {"PERF_COUNT": "YES", **(precision or {})})
    request = network.create_infer_request()
    for _ in range(WARM_UP):
        request.infer(list(feeds))
    first = {item.node_name: item.cpu_time.total_seconds() for item in request.profiling_info}
    for _ in range(INFERENCES):
        request.infer(list(feeds))
    seconds = {
        item.node_name: since(first.get(item.node_name, 0.0), item.cpu_time.total_seconds())
        for item in request.profiling_info
        if item.status == item.Status.EXECUTED
    }
    found = []
    for op in network.get_runtime_model().get_ordered_ops():
        origins = op.get_rt_info()["originalLayersNames"].astype(str) if "originalLayersNames" in op.get_rt_info() else ""
        name = op.get_friendly_name()
        if name in seconds:
            found.append(NodeTime((*str(origins).split(","), name), seconds[name]))
    return found


def since(before: float, after: float) -> float:
    """Mean of the inferences that followed the warm-up: the counters are means over all inferences, the slow first one included."""
    return max(0.0, (after * (WARM_UP + INFERENCES) - before * WARM_UP) / INFERENCES)


def kind(op: str, implementation: str) -> tuple[str, str, str]:
    """Kind, type and precision of an operation; an implementation is called ``brgconv_avx512_I8`` or ``jit_avx512_f32``."""
    ending = implementation.rpartition("_")[2]
    group = COMPUTE if any(part in op for part in COMPUTES) else CONVERSION if op in CONVERSIONS else OTHER
    return group, op, INT8 if ending in ("I8", "U8") else ending


def _request(file: str, feeds: Sequence[np.ndarray], threads: int, more: Mapping[str, str]) -> Any:
    return _network(file, feeds, threads, more).create_infer_request()


def _network(file: str, feeds: Sequence[np.ndarray], threads: int, more: Mapping[str, str]) -> Any:
    options = {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY", **more}
    return compiled(file, [array.shape for array in feeds], options)


class OpenVino:
    """Runs ONNX models; its int8 kernels saturate on processors without int8 dot products, and it has no switch for that.

    Args:
        own_file: the model in OpenVINO's own format, which is run in the place of the ONNX model that it was made of; that one tells
            what to answer with.
    """

    _FACTS: ClassVar = ("originalLayersNames", "layerType", "runtimePrecision")
    _KINDS: ClassVar = {
        "Convolution": ("Conv", "ConvInteger"),
        "Deconvolution": ("ConvTranspose",),
        "FullyConnected": ("Gemm", "MatMul", "MatMulInteger", "MatMulNBits"),
        "MatMul": ("MatMul", "MatMulInteger"),
    }

    def __init__(self, own_file: str = "") -> None:
        self.own_file = own_file
        self.name = OWN_FILE if own_file else OPENVINO
        import_extra("openvino", "openvino")

    def run(self, model: bytes, inputs: Mapping[str, np.ndarray], plain: bool = False) -> dict[str, np.ndarray]:
        """The model's outputs by name; it always optimizes, ``plain`` only keeps it from rounding activations to 8 bits on its own."""
        outputs = [item.name for item in import_extra("onnx", "onnx").load_model_from_string(model).graph.output] if self.own_file else ()
        network = compiled(self.own_file or model, properties={**FLOAT32, **(FLOAT_ACTIVATIONS if plain else {})}, outputs=outputs)
        results = network(dict(inputs))
        return {name: results[output] for output in network.outputs for name in output.get_names()}

    def executed(self, model: bytes, inputs: Mapping[str, np.ndarray], nodes: Sequence[Any]) -> dict[str, Executed]:
        """What the runtime used for each of these nodes of the model, by their names, from the runtime model that it compiled."""
        network = compiled(self.own_file or model, properties={**FLOAT32, "PERF_COUNT": True})
        request = network.create_infer_request()
        for _ in range(2):
            request.infer(dict(inputs))
        times = {item.node_name: item.real_time.microseconds for item in request.profiling_info}
        left, unclear, found = list(nodes), [], {}
        for op in network.get_runtime_model().get_ordered_ops():
            facts = {key: str(value.astype(str)) for key, value in op.get_rt_info().items() if key in self._FACTS}
            layer, precision = facts.get("layerType", ""), facts.get("runtimePrecision", "")
            if layer not in self._KINDS:
                continue
            used = Executed(
                f"{layer} {precision}", precision in ("u8", "i8", "u4", "i4", "u2"), float(times.get(op.get_friendly_name(), 0))
            )
            origins = set(facts.get("originalLayersNames", "").split(","))
            node = next((node for node in left if origins & {node.name, f"{node.name}/WithoutBiases", *node.output}), None)
            if node is None:
                unclear.append((layer, used))
            else:
                left.remove(node)
                found[node.name] = used
        for node in left:  # it lost the names of some: the first of the right kind that is left, in the order of the graph
            match = next((item for item in unclear if node.op_type in self._KINDS[item[0]]), None)
            if match is not None:
                unclear.remove(match)
                found[node.name] = match[1]
        return found
