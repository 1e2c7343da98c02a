"""How benchmarks print and keep what they measured: one schema for all results."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "environment", "plain", "print_table", "write_json"]

# PTQ_RESULTS names another folder, for a trial that shall leave the project's figures alone.
RESULTS = Path(os.environ.get("PTQ_RESULTS") or Path(__file__).parent / "results")
# What figures depend on; one that is not installed is null.
PACKAGES = ("paddlepaddle", "numpy", "scipy", "paddle2onnx", "onnx", "onnxruntime", "openvino")
# Of the processor's flags, those that decide which int8 kernels a runtime has.
FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "amx_bf16", "avx512_bf16")


def print_table(rows: Sequence[Mapping[str, Any]], formats: Mapping[str, str] | None = None) -> None:
    """Prints rows as an aligned table; ``formats`` maps a column to its format, what a row lacks is a dash."""
    formats = formats or {}
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_cell(row.get(column), formats.get(column, "{}")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in [columns, ["-" * width for width in widths], *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any, form: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return form.format(value)


def write_json(name: str, rows: Sequence[Mapping[str, Any]], **settings: Any) -> Path:
    """Writes ``benchmarks/results/<name>.json``: the command, its settings, the machine, the versions, the rows.

    In a row a figure that does not exist (None or NaN) is null, an infinite one ``"inf"`` or ``"-inf"``.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "benchmark": name,
        "command": " ".join(["python", "-m", f"benchmarks.bench_{name}", *sys.argv[1:]]),
        "settings": plain(settings),
        **environment(),
        "rows": [plain(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def environment() -> dict[str, Any]:
    """The processor and the versions: what another machine's figures may differ by."""
    model, flags = _processor()
    return {
        "machine": {"cpu": model, "flags": [flag for flag in FLAGS if flag in flags], "cores": _cores(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, set[str]]:
    """The model's name with family and model numbers, since names may say little, and its flags; what Linux tells, else less."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    found: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in lines):
        found.setdefault(key.strip(), value.strip())
    numbers = ", ".join(f"{key} {found[key]}" for key in ("cpu family", "model") if key in found)
    return f"{found.get('model name', platform.machine())} ({numbers})", set(found.get("flags", "").split())


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN is null, infinities are text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
