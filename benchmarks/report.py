"""How benchmarks print and keep what they measured."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paddle

__all__ = ["print_table", "write_json"]


def print_table(rows: Sequence[Mapping[str, Any]], formats: Mapping[str, str] | None = None) -> None:
    """Prints rows of equal keys as an aligned table; ``formats`` maps a column to its format."""
    formats = formats or {}
    columns = list(rows[0])
    cells = [[formats.get(column, "{}").format(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    for line in [columns, ["-" * width for width in widths], *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_json(name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes ``benchmarks/results/<name>.json``: the machine, the versions, the rows."""
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    machine = {"paddle": paddle.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
    path.write_text(
        json.dumps({"benchmark": name, **machine, "rows": [_plain(row) for row in rows]}, indent=1, allow_nan=False) + "\n",
        encoding="utf-8",
    )
    return path


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as JSON can hold it: a figure that does not exist, or is infinite, is null."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
