"""Measures a saved int8 model against its float baseline in every runtime."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError, ConfigError

from ..export.baseline import baseline_path
from ..runtimes.cpu import this_cpu
from ..runtimes.profile import INT8, OpTime, int8_for, is_int8
from ..runtimes.timing import compare
from ..util.child import run_module
from ..util.progress import progress
from .artifact import Artifact, Input, check_pair, fixed_batch, read_artifact, with_batch
from .reasons import FASTER, Inference, reasons
from .report import BenchReport, Row, RuntimeResult
from .runtimes import RUNTIMES, Runtime
from .task import Task

__all__ = ["BATCHES", "ROUNDS", "THREADS", "bench", "in_process"]

BATCHES, THREADS = (1, 8), (1, 2)
ROUNDS = 11
SECONDS = 2.0

Measure = Callable[[Task], Any]


class RuntimeFailedError(ArtifactError):
    """A runtime is not installed, refuses the file, or crashed."""


@dataclass(frozen=True)
class _Setting:
    """What is the same for all runtimes."""

    int8: Artifact
    floats: Artifact
    inputs: dict[int, tuple[Input, ...]]
    threads: Sequence[int]
    rounds: int
    seconds: float
    measure: Measure

    def task(self, runtime: Runtime, action: str, batch: int, threads: int, label: str = INT8) -> Task:
        """A task on both artifacts."""
        prefixes = os.path.abspath(self.int8.prefix), os.path.abspath(self.floats.prefix)
        return Task(action, runtime.name, *prefixes, self.inputs[batch], threads, self.rounds, self.seconds, label)


def bench(
    path: str | os.PathLike[str],
    float_path: str | os.PathLike[str] | None = None,
    *,
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    input_shapes: Sequence[Sequence[int]] = (),
    measure: Measure | None = None,
) -> BenchReport:
    """Measures speed, peak memory and size in each runtime that is installed and whose files were saved.

    Args:
        path: prefix of the quantized model; ``float_path``: of the float one, `baseline_path` when ``None``.
        batches: batch sizes; a model saved with a fixed batch is measured with that one only.
        threads: numbers of threads; 1, and 2 where there are two processors, when ``None``.
        rounds: each alternative is run at least so often, in turn.
        seconds: as many rounds more until this time has passed.
        input_shapes: sizes behind the batch, one list for each input, for models with other free sizes.
        measure: runs one task; a fresh process for each when ``None``.

    Raises:
        ArtifactError: an artifact is missing or damaged, or no runtime could measure it.
        ConfigError: an option is out of its range.
        MismatchError: the two are not the same model.
    """
    for name, counts in (("batches", batches), ("threads", threads)):
        if not isinstance(counts, (list, tuple, type(None))):
            raise ConfigError(f"{name} must be a list of whole numbers, got {counts!r}")
    processors = _processors()
    threads = [count for count in THREADS if count <= processors] if threads is None else list(threads)
    _check(batches, threads, rounds, seconds, processors)
    int8 = read_artifact(path)
    floats = read_artifact(baseline_path(path) if float_path is None else float_path)
    check_pair(int8, floats)
    fixed = fixed_batch(int8.inputs)
    sizes = list(dict.fromkeys(batches)) if fixed is None else [fixed]
    inputs = {batch: tuple(with_batch(int8.inputs, batch, input_shapes)) for batch in sizes}
    setting = _Setting(int8, floats, inputs, list(dict.fromkeys(threads)), rounds, seconds, measure or in_process)
    results = tuple(_runtime(runtime, setting) for runtime in progress(list(RUNTIMES.values()), description="bench"))
    report = BenchReport(int8.prefix, floats.prefix, this_cpu(), fixed, results)
    if not report.rows:
        skipped = "; ".join(f"{result.name}: {result.skipped}" for result in results)
        raise ArtifactError(f"{int8.prefix} could not be measured: {skipped}")
    return report


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(batches: Sequence[int], threads: Sequence[int], rounds: int, seconds: float, processors: int) -> None:
    for name, values in (("batch", batches), ("threads", threads), ("rounds", [rounds])):
        if not values or any(isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in values):
            raise ConfigError(f"{name} must be whole numbers of at least 1, got {list(values)}")
    if max(threads) > processors:
        raise ConfigError(f"threads is {max(threads)}, but this process may use {processors} processors: more would measure their quarrel")
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
        raise ConfigError(f"seconds must be at least 0, got {seconds!r}")


def _runtime(runtime: Runtime, setting: _Setting) -> RuntimeResult:
    result = RuntimeResult(
        runtime.name,
        sum(setting.floats.bytes.get(s, 0) for s in runtime.suffixes),
        sum(setting.int8.bytes.get(s, 0) for s in runtime.suffixes),
    )
    missing = [item.prefix + s for item in (setting.int8, setting.floats) for s in runtime.suffixes if s not in item.bytes]
    if missing:
        advice = "save_quantized_model(..., formats=('jit', 'onnx', 'openvino', 'inference'), float_baseline=True) writes all files"
        return replace(result, skipped=f"{' and '.join(missing)} not saved; {advice}")
    try:
        rows = [row for threads in setting.threads for batch in setting.inputs for row in _rows(runtime, setting, batch, threads)]
        labels = dict.fromkeys([*(row.baseline for row in rows), *(row.int8 for row in rows)])
        batch, threads = next(iter(setting.inputs)), setting.threads[0]
        memory = {label: setting.measure(setting.task(runtime, "memory", batch, threads, label)) for label in labels}
        return replace(result, rows=tuple(_explained(runtime, setting, rows)), memory_mb=memory)
    except RuntimeFailedError as error:
        return replace(result, skipped=str(error))


def _rows(runtime: Runtime, setting: _Setting, batch: int, threads: int) -> list[Row]:
    times = setting.measure(setting.task(runtime, "time", batch, threads))
    opponents = {label: int8_for(label) if int8_for(label) in times else INT8 for label in times if not is_int8(label)}
    return [Row(runtime.name, label, int8, batch, threads, compare(times[label], times[int8])) for label, int8 in opponents.items()]


def _explained(runtime: Runtime, setting: _Setting, rows: Sequence[Row]) -> list[Row]:
    """The rows; each that is not faster has the reasons that its own batch, threads and baseline show."""

    @functools.cache
    def profile(label: str, batch: int, threads: int) -> list[OpTime]:
        return [OpTime(**item) for item in setting.measure(setting.task(runtime, "profile", batch, threads, label))]

    def why(row: Row) -> tuple[str, ...]:
        if row.speed.ratio >= FASTER:
            return ()
        if runtime.profile is None:
            return (runtime.never_faster,)
        floats, int8 = (
            Inference(ms / 1e3, profile(label, row.batch, row.threads))
            for label, ms in ((row.baseline, row.speed.float_ms), (row.int8, row.speed.int8_ms))
        )
        return tuple(reasons(floats, int8, this_cpu().has_vnni))

    return [replace(row, reasons=why(row)) for row in rows]


def in_process(task: Task) -> Any:
    """What `worker.work` answers, in a fresh process.

    Raises:
        RuntimeFailedError: it failed.
    """
    with tempfile.TemporaryDirectory(prefix="ptq-bench-") as folder:
        question, answer = Path(folder, "task.json"), Path(folder, "answer.json")
        question.write_text(task.as_json(), encoding="utf-8")
        try:
            run_module("ptq.bench.worker", str(question), str(answer), environment=task.environment())
        except ArtifactError as error:
            raise RuntimeFailedError(str(error)) from error
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise RuntimeFailedError(found["error"])
    return found["found"]
