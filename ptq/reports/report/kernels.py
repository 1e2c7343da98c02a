"""What ONNX Runtime ran for each layer, float and int8, and how long it took."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from quantizers.errors import ArtifactError, ModelError

from ...convert.apply import as_float
from ...export.formats import JIT
from ...export.onnx.graph import EditableGraph
from ...export.save import staged_artifact
from ...runtimes import onnxruntime
from ...runtimes.onnxruntime import ONNX_RUNTIME, Event
from ...runtimes.profile import COMPUTE as PROFILED
from ...runtimes.profile import Executed
from ...runtimes.timing import clock_for, compare, interleave
from ...util.extras import import_extra
from ..accuracy import Kernels, LayerRecord
from .source import Source

__all__ = ["Profile", "run_profile"]

Array = npt.NDArray[Any]
ONNX = ".onnx"
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
REPEATS, ROUNDS, SECONDS = 5, 7, 1.0
# What the runtime appends to names of nodes that it merges or moves to another layout, and how many nodes a fusion may hold.
ADDED = re.compile(r"(_nchwc|_token_\d+|/\w+)+$")
FUSED = 4


@dataclass(frozen=True)
class Profile:
    """``layers``: those of the report with their kernels; ``speed``: as in the JSON; ``note``: why layers have none."""

    layers: tuple[LayerRecord, ...]
    speed: dict[str, Any]
    note: str = ""


def run_profile(source: Source, layers: Sequence[LayerRecord], arrays: Sequence[Array]) -> Profile:
    """Runs both models in ONNX Runtime, one thread, on the same arrays.

    Raises:
        MissingExtraError: the extra ``onnx`` is not installed.
        ArtifactError: there are no ONNX files, or they do not take the arrays.
        ModelError: the float model cannot be saved, since it is not known any more.
    """
    with _files(source) as (float_file, int8_file):
        floats, int8 = (_executed(file, arrays) for file in (float_file, int8_file))
        runs = {name: onnxruntime.load(str(file), arrays, 1) for name, file in (("float", float_file), ("int8", int8_file))}
        times = interleave(runs, ROUNDS, SECONDS, clock_for(1))
    found = compare(times["float"], times["int8"])
    batch = int(arrays[0].shape[0]) if arrays and arrays[0].ndim else 1
    times_ms = {"float_ms": found.float_ms, "int8_ms": found.int8_ms, "ratio": found.ratio}
    speed = {"runtime": ONNX_RUNTIME, "threads": 1, "batch": batch, **times_ms}
    places = [number for number, layer in enumerate(layers) if _nodes_of(layer.op)]
    if [len(places)] * 2 != [len(floats), len(int8)]:
        note = f"kernels are not told: the files have {len(floats)} and {len(int8)} compute nodes, the report {len(places)} layers"
        return Profile(tuple(layers), speed, note)
    wrong = [layers[n].name for n, (op, _) in zip(places, floats, strict=True) if op not in _nodes_of(layers[n].op)]
    if wrong:
        return Profile(tuple(layers), speed, f"kernels are not told: the files' order is another ({wrong[0]})")
    with_kernels = list(layers)
    for number, (_, before), (_, after) in zip(places, floats, int8, strict=True):
        with_kernels[number] = replace(layers[number], kernels=_kernels(before, after))
    return Profile(tuple(with_kernels), speed)


def _kernels(before: Executed | None, after: Executed | None) -> Kernels | None:
    if before is None or after is None:
        return None
    return Kernels(ONNX_RUNTIME, before.kernel, after.kernel, after.is_int8, before.microseconds, after.microseconds)


def _nodes_of(op: str) -> tuple[str, ...]:
    """Types of ONNX nodes that a layer of this class may become."""
    if op.startswith("Conv"):
        return ("ConvTranspose",) if op.endswith("Transpose") else ("Conv",)
    return ("MatMul", "Gemm") if op in ("Linear", "matmul", "bmm", "legacy_matmul", "matmul_with_flatten") else ()


@contextmanager
def _files(source: Source) -> Iterator[tuple[Path, Path]]:
    """The float and the int8 file: those that were saved, or temporary ones."""
    if source.prefix:
        files = Path(source.float_prefix + ONNX), Path(source.prefix + ONNX)
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise ArtifactError(f"{' and '.join(missing)} missing: save both with formats=('jit', 'onnx'), or leave the profile out")
        yield files
        return
    try:
        float_model = as_float(source.model)
    except ModelError:
        float_model = source.float_model
    with (
        tempfile.TemporaryDirectory(prefix="ptq-report-") as folder,
        staged_artifact(float_model, str(Path(folder, "float")), None, (JIT, "onnx")) as floats,
        staged_artifact(source.model, str(Path(folder, "int8")), None, (JIT, "onnx")) as int8,
    ):
        yield Path(floats.prefix + ONNX), Path(int8.prefix + ONNX)


def _executed(file: Path, arrays: Sequence[Array]) -> list[tuple[str, Executed | None]]:
    """For each compute node, in order: its type, and the kernel that ran for it with the median of its times."""
    onnx = import_extra("onnx", "onnx")
    graph = EditableGraph(onnx.load(str(file)))
    nodes = graph.of(*COMPUTE)
    found: dict[str, list[Event]] = defaultdict(list)
    for event in onnxruntime.events_of(str(file), arrays, 1, REPEATS):
        found[_origin(event, graph)].append(event)
    return [(node.op_type, _median(found[node.name]) if node.name in found else None) for node in nodes]


def _median(events: Sequence[Event]) -> Executed:
    return Executed(events[0].kernel, events[0].is_int8, statistics.median(event.seconds for event in events) * 1e6)


def _origin(event: Event, graph: EditableGraph) -> str:
    """The compute node of the file that a kernel ran for: the runtime names a fusion after a node, or after the value that it makes."""
    if event.kind != PROFILED:
        return ""
    base = ADDED.sub("", event.node.removeprefix("fused "))
    node = next((node for node in graph if node.name == base), None) or graph.producer(base)
    for _ in range(FUSED):
        if node is None or node.op_type in COMPUTE:
            break
        node = next((maker for name in node.input if (maker := graph.producer(name)) is not None), None)
    return "" if node is None or node.op_type not in COMPUTE else str(node.name)
