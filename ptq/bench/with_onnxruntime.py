"""ONNX Runtime on ``path.onnx``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ArtifactError

from ..util.extras import import_extra
from .profile import COMPUTE, CONVERSION, INT8, OTHER, OpTime, summed
from .timing import Run

__all__ = ["SUFFIX", "load", "profile"]

SUFFIX = ".onnx"
CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "Cast")
WARM_UP, INFERENCES = 2, 9


def load(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    """One inference of the file on the CPU, graph optimizations as the runtime's default."""
    session = _session(prefix, threads)
    named = _named(session, prefix, feeds)
    return lambda: session.run(None, named)


def profile(_label: str, prefix: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
    """Time of each type of operation in one inference, from the runtime's own profiler."""
    with tempfile.TemporaryDirectory(prefix="ptq-bench-") as folder:
        session = _session(prefix, threads, str(Path(folder, "profile")))
        named = _named(session, prefix, feeds)
        for _ in range(WARM_UP + INFERENCES):
            session.run(None, named)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return read_profile(events)


def read_profile(events: Sequence[dict[str, Any]]) -> list[OpTime]:
    """The same from the events that the profiler wrote: the first inferences, which set things up, are left out."""
    start = sorted(event["ts"] for event in events if event.get("name") == "model_run")[WARM_UP]
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= start]
    nodes.sort(key=lambda event: event["ts"])
    return summed([(*_kind(event["args"]["op_name"]), event["dur"] / 1e6) for event in nodes], INFERENCES)


def _kind(op: str) -> tuple[str, str, str]:
    precision = INT8 if (op.startswith("Q") or "Integer" in op) and op not in CONVERSIONS else "float"
    if op in CONVERSIONS:
        return CONVERSION, op, precision
    return (COMPUTE if any(part in op for part in ("Conv", "Gemm", "MatMul", "Attention")) else OTHER), op, precision


def _session(prefix: str, threads: int, profile_prefix: str = "") -> Any:
    runtime = import_extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if profile_prefix:
        options.enable_profiling, options.profile_file_prefix = True, profile_prefix
    return runtime.InferenceSession(prefix + SUFFIX, options, providers=["CPUExecutionProvider"])


def _named(session: Any, prefix: str, feeds: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    names = [item.name for item in session.get_inputs()]
    if len(names) != len(feeds):
        raise ArtifactError(f"{prefix}{SUFFIX} has inputs {names}, the manifest lists {len(feeds)}; save the model again")
    return dict(zip(names, feeds, strict=True))
