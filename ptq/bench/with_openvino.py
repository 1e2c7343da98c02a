"""OpenVINO on ``path.onnx``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from quantizers.errors import ArtifactError

from ..util.extras import import_extra
from .profile import COMPUTE, CONVERSION, INT8, OTHER, OpTime, summed
from .timing import Run

__all__ = ["SUFFIX", "load", "loaders", "profile"]

SUFFIX = ".onnx"
FLOAT32 = "float32"
PRECISION = "INFERENCE_PRECISION_HINT"
COMPUTES = ("Convolution", "FullyConnected", "MatMul", "Deconvolution", "ScaledDotProductAttention")
CONVERSIONS = ("Reorder", "Convert", "FakeQuantize", "Quantize")
WARM_UP, INFERENCES = 2, 20


def load(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    """One inference of the file on the CPU, compiled for the shapes of ``feeds``; what is float in it has the runtime's precision."""
    request = _request(prefix, feeds, threads)
    return lambda: request.infer(list(feeds))


def loaders() -> dict[str, Callable[[str, Sequence[np.ndarray], int], Run]]:
    """A file, float or quantized, in float32, and in the precision that OpenVINO itself chooses where this is another (bfloat16).

    What a quantized file leaves float has that precision, so that each is to be compared with the float file in the same.
    """
    chosen = str(import_extra("openvino", "openvino").Core().get_property("CPU", PRECISION).to_string())
    loaders: dict[str, Callable[[str, Sequence[np.ndarray], int], Run]] = {FLOAT32: _load_float32}
    return loaders if chosen == "f32" else {**loaders, f"default ({chosen})": load}


def _load_float32(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    request = _request(prefix, feeds, threads, {PRECISION: "f32"})
    return lambda: request.infer(list(feeds))


def profile(label: str, prefix: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
    """Time of each type of operation in one inference, from the runtime's own counters."""
    request = _request(prefix, feeds, threads, {"PERF_COUNT": "YES"} | ({PRECISION: "f32"} if label.endswith(FLOAT32) else {}))
    for _ in range(WARM_UP):
        request.infer(list(feeds))
    first = {item.node_name: item.cpu_time.total_seconds() for item in request.profiling_info}
    for _ in range(INFERENCES):
        request.infer(list(feeds))
    ran = [item for item in request.profiling_info if item.status == item.Status.EXECUTED]
    seconds = [since(first.get(item.node_name, 0.0), item.cpu_time.total_seconds()) for item in ran]
    return summed([(*kind(item.node_type, item.exec_type), time) for item, time in zip(ran, seconds, strict=True)], 1)


def since(before: float, after: float) -> float:
    """Mean of the inferences that followed the warm-up: the counters are means over all inferences, the slow first one included."""
    return max(0.0, (after * (WARM_UP + INFERENCES) - before * WARM_UP) / INFERENCES)


def kind(op: str, implementation: str) -> tuple[str, str, str]:
    """Kind, type and precision of an operation; an implementation is called ``brgconv_avx512_I8`` or ``jit_avx512_f32``."""
    ending = implementation.rpartition("_")[2]
    group = COMPUTE if any(part in op for part in COMPUTES) else CONVERSION if op in CONVERSIONS else OTHER
    return group, op, INT8 if ending in ("I8", "U8") else ending


def _request(prefix: str, feeds: Sequence[np.ndarray], threads: int, more: Mapping[str, str] | None = None) -> Any:
    core = import_extra("openvino", "openvino").Core()
    model = core.read_model(prefix + SUFFIX)
    if len(model.inputs) != len(feeds):
        raise ArtifactError(f"{prefix}{SUFFIX} has {len(model.inputs)} inputs, the manifest lists {len(feeds)}; save the model again")
    model.reshape({port: list(array.shape) for port, array in zip(model.inputs, feeds, strict=True)})
    options = {"INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY", **(more or {})}
    return core.compile_model(model, "CPU", options).create_infer_request()
