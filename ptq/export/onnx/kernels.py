"""Which compute layers of an ONNX file a runtime executes in int8, and why the others stay float."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...runtimes.onnxruntime import OnnxRuntime
from ..report import Kernel
from .graph import EditableGraph
from .runtime import Runtime
from .weights import weight_of

__all__ = ["kernels"]

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "MatMulNBits")


def kernels(model: Any, runtime: Runtime, inputs: Mapping[str, np.ndarray]) -> tuple[tuple[Kernel, ...], list[str]]:
    """A `Kernel` for every compute operation of an ONNX model, and what its float ones cost, in words."""
    graph = EditableGraph(model)
    nodes = graph.of(*COMPUTE)
    executed = runtime.executed(model.SerializeToString(), inputs, nodes)
    found, times = [], {True: 0.0, False: 0.0}
    for node in nodes:
        kernel = executed.get(node.name)
        is_int8 = kernel is not None and kernel.is_int8
        times[is_int8] += kernel.microseconds if kernel is not None else 0.0
        reason = "" if is_int8 else _reason(graph, node, runtime)
        found.append(Kernel(node.name, node.op_type, kernel.kernel if kernel is not None else "merged or unknown", is_int8, reason))
    floats = sum(not kernel.is_int8 for kernel in found)
    total = sum(times.values())
    notes = [f"  {floats} float layers take {times[False] / total:.0%} of the time spent in compute layers"] if floats and total else []
    return tuple(found), notes


def _reason(graph: EditableGraph, node: Any, runtime: Runtime) -> str:
    """Why a layer is not computed in int8, by what surrounds it."""
    if node.op_type in ("ConvInteger", "MatMulInteger", "MatMulNBits"):
        return f"{runtime.name} computes it in float, to the right answer"
    if weight_of(graph, node.input[1]) is None:
        return "its weight is not stored as int8" if _is_constant(graph, node.input[1]) else "both of its inputs are activations"
    source = graph.producer(node.input[0])
    if source is None or source.op_type != "DequantizeLinear":
        return "its input is on no 8-bit grid"
    if isinstance(runtime, OnnxRuntime) and node.op_type == "ConvTranspose":
        return f"{runtime.name} has no int8 kernel for it"
    if isinstance(runtime, OnnxRuntime) and node.op_type == "Conv" and not _goes_to_grid(graph, node.output[0]):
        return f"its result goes to no grid, and the int8 convolution of {runtime.name} has no float result; see placement and target"
    return f"{runtime.name} chose a float kernel"


def _is_constant(graph: EditableGraph, value: str) -> bool:
    node = graph.producer(value)
    return value in graph.constants or (node is not None and all(_is_constant(graph, name) for name in node.input if name))


def _goes_to_grid(graph: EditableGraph, value: str) -> bool:
    reader = graph.only_reader(value)
    while reader is not None and reader.op_type in ("Relu", "Clip"):
        reader = graph.only_reader(reader.output[0])
    return reader is not None and reader.op_type == "QuantizeLinear"
