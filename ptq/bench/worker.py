"""Run as ``python -m ptq.bench.worker TASK ANSWER``: measures in a process of its own, since two runtimes may carry the same libraries."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quantizers.errors import QuantizationError

from ..runtimes.profile import Run
from ..runtimes.timing import clock_for, interleave
from ..util.messages import last_line
from .artifact import feeds
from .runtimes import RUNTIMES, Load, Runtime
from .task import Task

__all__ = ["work"]

# Threads that wait for work spin for a moment, which would disturb the next alternative; see `Task.environment`.
PAUSE = 0.01
STATUS = Path("/proc/self/status")


def work(task: Task) -> Any:
    """What the task asks for: seconds per round by alternative; MB; or a list of `OpTime` as dicts."""
    runtime = RUNTIMES[task.runtime]
    actions = {"time": _time, "memory": _memory, "profile": _profile}
    return actions[task.action](task, runtime)


def _time(task: Task, runtime: Runtime) -> dict[str, list[float]]:
    arrays = feeds(task.inputs)
    runs = {label: load(task.prefix(label), arrays, task.threads) for label, load in runtime.loaders().items()}
    return interleave(runs, task.rounds, task.seconds, clock_for(task.threads), _settle if task.threads > 1 else None)


def _settle(run: Run) -> None:
    """Lets the threads of the alternative before go to sleep, and wakes those of the next."""
    time.sleep(PAUSE)
    run()


def _memory(task: Task, runtime: Runtime) -> float | None:
    loaders: Mapping[str, Load] = runtime.loaders()
    arrays = feeds(task.inputs)
    with contextlib.suppress(OSError):  # without it the peak of importing counts too
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_mb("VmRSS")
    run = loaders[task.label](task.prefix(task.label), arrays, task.threads)
    run()
    run()
    peak = _status_mb("VmHWM")
    return None if before is None or peak is None else peak - before


def _status_mb(field: str) -> float | None:
    """A line of the kernel's report on this process, in MB; ``None`` where there is no such report."""
    if not STATUS.is_file():
        return None
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def _profile(task: Task, runtime: Runtime) -> list[dict[str, Any]]:
    if runtime.profile is None:
        return []
    found = runtime.profile(task.label, task.prefix(task.label), feeds(task.inputs), task.threads)
    return [asdict(item) for item in found]


def main(task: str, answer: str) -> None:
    """Reads the task, works, writes ``{"found": …}`` or ``{"error": …}``; an answer that is not there tells that the runtime crashed."""
    asked = Task.from_json(Path(task).read_text(encoding="utf-8"))
    os.chdir(Path(answer).parent)  # runtimes leave files behind
    try:
        found = {"found": work(asked)}
    except QuantizationError as error:
        found = {"error": str(error)}
    except Exception as error:  # a runtime may raise anything
        found = {"error": f"{type(error).__name__}: {last_line(error)}"}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # runtimes that share libraries may crash while they are torn down
