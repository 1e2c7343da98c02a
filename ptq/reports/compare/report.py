"""What a comparison found: a table for people, JSON for programs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...util.json_file import write_json

__all__ = ["CompareReport", "Difference"]


@dataclass(frozen=True)
class Difference:
    """How far one output or one layer's result is apart.

    Attributes:
        name: of the output or the layer.
        shape: without the batch.
        sqnr_db: power of the first model's values over that of the difference; ``inf`` when equal, ``-inf`` where only one is finite.
        largest_difference: largest absolute difference.
        largest: largest magnitude of the first model's values.
        agreement: share of positions whose largest value along the classes is the same one; ``None`` where there are no classes.
    """

    name: str
    shape: tuple[int, ...]
    sqnr_db: float
    largest_difference: float
    largest: float
    agreement: float | None = None


@dataclass(frozen=True)
class CompareReport:
    """Two models on the same data.

    ``first``, ``second``: their paths; ``samples``; ``outputs``: in order; ``layers``: results of convolutions, products and recurrent
    layers before they are rounded, in the order of their computation; ``note``: why there are no layers.
    """

    first: str
    second: str
    samples: int
    outputs: tuple[Difference, ...]
    layers: tuple[Difference, ...] = ()
    note: str = ""

    @property
    def sqnr_db(self) -> float:
        """The least of the outputs."""
        return min(output.sqnr_db for output in self.outputs)

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [f"{self.second} against {self.first}, {self.samples} samples", *_table("output", self.outputs)]
        if self.layers:
            lines += ["layer by layer, in order of computation:", *_table("layer", self.layers)]
        return [*lines, *([f"no layers are compared: {self.note}"] if self.note else [])]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON values; infinities are texts."""
        return {
            "format": "paddle-ptq comparison",
            "version": 1,
            "first": self.first,
            "second": self.second,
            "samples": self.samples,
            "outputs": [_plain(item) for item in self.outputs],
            "layers": [_plain(item) for item in self.layers],
            "note": self.note,
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the report to a JSON file, as a whole or not at all.

        Raises:
            ConfigError: ``path`` is no path.
            ArtifactError: the file cannot be written.
        """
        write_json(path, self.to_dict())


def _plain(item: Difference) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else list(value) if isinstance(value, tuple) else value
        for name, value in asdict(item).items()
    }


def _table(title: str, items: Iterable[Difference]) -> list[str]:
    rows = list(_rows(title, items))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rows(title: str, items: Iterable[Difference]) -> Iterator[tuple[str, ...]]:
    yield title, "shape", "SQNR", "largest difference", "of largest value", "same answer"
    for item in items:
        agreement = "-" if item.agreement is None else f"{item.agreement:.2%}"
        shape = "x".join(map(str, item.shape)) or "-"
        yield item.name, shape, f"{item.sqnr_db:.1f} dB", f"{item.largest_difference:.3g}", f"{item.largest:.3g}", agreement
