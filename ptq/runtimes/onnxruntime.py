"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ArtifactError

from ..util.extras import import_extra
from .profile import COMPUTE, CONVERSION, INT8, OTHER, Executed, NodeTime, OpTime, Run, summed

__all__ = ["EXACT", "ONNX_RUNTIME", "Event", "OnnxRuntime", "events_of", "load", "open_session", "profile", "read_events", "read_profile"]

ONNX_RUNTIME = "ONNX Runtime"
# Without int8 dot products products of uint8 and int8 are added in 16 bits, which saturate; with this option weights become uint8 and
# nothing does, at some cost in speed.
EXACT = ("session.x64quantprecision", "1")
CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "Cast")
WARM_UP, INFERENCES = 2, 9


def open_session(
    model: str | bytes, threads: int | None = None, *, exact: bool = False, optimized: bool = True, profile_prefix: str = ""
) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU.

    Args:
        model: a file, or its content.
        threads: to compute with; the runtime's own choice when ``None``.
        exact: sum int8 products without saturation on every processor.
        optimized: ``False``: each operation is computed as it is written.
        profile_prefix: where to write a profile.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    runtime = import_extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # its warnings about what it optimizes are not the user's business
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if exact:
        options.add_session_config_entry(*EXACT)
    if not optimized:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile_prefix:
        options.enable_profiling, options.profile_file_prefix = True, profile_prefix
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Event:
    """One execution of a node: the name that the runtime has for it, its kernel, and seconds."""

    node: str
    kernel: str
    seconds: float

    @property
    def kind(self) -> str:
        """``"compute"``, ``"conversion"`` or ``"other"``, see `OpTime`."""
        return _kind(self.kernel)[0]

    @property
    def is_int8(self) -> bool:
        """Whether it computes on integers."""
        return _kind(self.kernel)[2] == INT8


def read_events(events: Sequence[Mapping[str, Any]], warm_up: int) -> list[Event]:
    """The nodes of a profile in order, those of the first ``warm_up`` inferences, which set things up, left out."""
    start = sorted(event["ts"] for event in events if event.get("name") == "model_run")[warm_up]
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= start]
    nodes.sort(key=lambda event: event["ts"])
    return [Event(event["name"].removesuffix("_kernel_time"), event["args"]["op_name"], event["dur"] / 1e6) for event in nodes]


def _profiled(model: str | bytes, inputs: Any, warm_up: int, inferences: int, **options: Any) -> list[Mapping[str, Any]]:
    """What the profiler wrote of ``warm_up + inferences`` inferences; ``inputs``: by name, or a function of the session."""
    with tempfile.TemporaryDirectory(prefix="ptq-profile-") as folder:
        session = open_session(model, profile_prefix=str(Path(folder, "profile")), **options)
        named = inputs(session) if callable(inputs) else dict(inputs)
        for _ in range(warm_up + inferences):
            session.run(None, named)
        found: list[Mapping[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return found


def events_of(file: str, feeds: Sequence[np.ndarray], threads: int, inferences: int) -> list[Event]:
    """Every execution of a node in so many inferences, in order."""
    found = _profiled(file, lambda session: _named(session, file, feeds), WARM_UP, inferences, threads=threads)
    return read_events(found, WARM_UP)


def node_times(file: str, feeds: Sequence[np.ndarray], threads: int) -> list[NodeTime]:
    """Every kernel of one inference, its time the median of several."""
    found: dict[str, list[float]] = {}
    for event in events_of(file, feeds, threads, INFERENCES):
        found.setdefault(event.node.removeprefix("fused "), []).append(event.seconds)
    return [NodeTime((name,), statistics.median(seconds)) for name, seconds in found.items()]


def load(file: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    """One inference of a file, everything as the runtime's default."""
    session = open_session(file, threads)
    named = _named(session, file, feeds)
    return lambda: session.run(None, named)


def profile(file: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
    """Time of each type of operation in one inference, from the runtime's own profiler."""
    return read_profile(_profiled(file, lambda session: _named(session, file, feeds), WARM_UP, INFERENCES, threads=threads))


def read_profile(events: Sequence[Mapping[str, Any]]) -> list[OpTime]:
    """The same from the events that the profiler wrote."""
    return summed([(*_kind(event.kernel), event.seconds) for event in read_events(events, WARM_UP)], INFERENCES)


def _kind(op: str) -> tuple[str, str, str]:
    if op in CONVERSIONS:
        return CONVERSION, op, "float"
    computes = any(part in op for part in ("Conv", "Gemm", "MatMul", "Attention"))
    on_integers = op.startswith(("Q", "DynamicQuantizeMatMul")) or "Integer" in op or "NBits" in op
    return COMPUTE if computes else OTHER, op, INT8 if on_integers else "float"


def _named(session: Any, file: str, feeds: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    names = [item.name for item in session.get_inputs()]
    if len(names) != len(feeds):
        raise ArtifactError(f"{file} has inputs {names}, the manifest lists {len(feeds)}; save the model again")
    return dict(zip(names, feeds, strict=True))


class OnnxRuntime:
    """Runs ONNX models; ``exact``: int8 products are summed without saturation on every processor."""

    name = ONNX_RUNTIME

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        import_extra("onnxruntime", "onnx")

    def run(self, model: bytes, inputs: Mapping[str, np.ndarray], plain: bool = False) -> dict[str, np.ndarray]:
        """The model's outputs by name; ``plain``: each operation is computed as it is written."""
        session = open_session(model, exact=self.exact, optimized=not plain)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def executed(self, model: bytes, inputs: Mapping[str, np.ndarray], nodes: Sequence[Any]) -> dict[str, Executed]:
        """What the runtime used for each of these nodes of the model, by their names, from the second of two profiled runs."""
        found = {}
        names = [node.name for node in nodes]
        for event in read_events(_profiled(model, inputs, 1, 1, exact=self.exact), 1):
            node = _longest_prefix(event.node.removeprefix("fused "), names)
            if node is not None and event.kernel not in ("Transpose", "Reshape", *CONVERSIONS):
                found[node] = Executed(event.kernel, _kind(event.kernel)[2] == INT8, event.seconds * 1e6)
        return found


def _longest_prefix(name: str, nodes: Iterable[str]) -> str | None:
    """The node that an event is called after: the runtime appends to the names of nodes that it merges or moves."""
    return max((node for node in nodes if name == node or name.startswith((f"{node}_", f"{node}/"))), key=len, default=None)
