"""The report itself: its figures as objects, as JSON, as text and as a page."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError

from ...util.json_file import write_json
from ...util.whole_file import write_whole
from ..accuracy import LayerRecord
from ..advice import Advice
from ..compare.report import Difference
from ..page import page

__all__ = ["Report", "plain"]

SHOWN = 10


@dataclass(frozen=True)
class Report:
    """What `report` found; ``str(report)`` is a summary for logs.

    Attributes:
        findings: advice, what weighs most first.
        layers: every call of a compute layer, the one with the largest error of its own first.
        outputs: the answers of the quantized model against the float model's.
        content: all of it as JSON values, see `ptq.reports.report.schema`; layers in order of execution.
        other: the content of the report that this one is compared with, ``None`` for none.
        path: of the page, ``None`` where none was written.
    """

    findings: tuple[Advice, ...]
    layers: tuple[LayerRecord, ...]
    outputs: tuple[Difference, ...]
    content: dict[str, Any]
    other: dict[str, Any] | None = None
    path: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON values; infinities are texts."""
        return self.content

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON text; also written to a file, whole or not at all, where a path is given.

        Raises:
            ConfigError: ``path`` is no path.
            ArtifactError: the file cannot be written.
        """
        if path is not None:
            write_json(path, self.content)
        return json.dumps(self.content, indent=1, allow_nan=False)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as a page that needs no other file; also written to a file, whole or not at all, where a path is given.

        Raises:
            ArtifactError: the file cannot be written.
        """
        html = page(self.content, self.other)
        if path is not None:
            try:
                write_whole(Path(path), html.encode("utf-8"))
            except (OSError, ValueError) as error:
                raise ArtifactError(f"{path} cannot be written: {error}") from error
        return html

    def lines(self) -> list[str]:
        """The summary: the verdict, advice, the worst layers."""
        lines = [sentence["en"] for sentence in self.content["verdict"]]
        lines += [line for finding in self.findings for line in str(finding).splitlines()]
        worst = [layer for layer in self.layers if layer.alone_db is not None][:SHOWN]
        if worst:
            lines += [f"the {len(worst)} layers with the largest errors of their own:", *_table(worst)]
        return [*lines, *self.content["notes"]]

    def __str__(self) -> str:
        return "\n".join(self.lines())


def plain(value: Any) -> Any:
    """The same in JSON values: numbers of six digits, infinities as texts, tuples as lists."""
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return plain(asdict(value))


def _table(layers: Sequence[LayerRecord]) -> list[str]:
    rows: list[tuple[str, ...]] = [("layer", "op", "alone", "in the model", "input", "weight", "clipped")]
    for layer in layers:
        clipped = "-" if layer.input is None or layer.input.sqnr_db is None else f"{layer.input.clipped:.2%}"
        figures = (layer.alone_db, layer.total_db, layer.input_db, layer.weight_db)
        rows.append((layer.name, layer.op, *("-" if value is None else f"{value:.1f} dB" for value in figures), clipped))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
