"""The ledger itself: rows, totals, a table for people, JSON for programs."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import CorruptArtifactError

from ...util.json_file import read_json, write_json

__all__ = ["FLOAT", "FOLDED", "INT8", "OBSERVED", "STATES", "TRANSPARENT", "Ledger", "Row"]

FORMAT, VERSION = "paddle-ptq coverage", 1
INT8, OBSERVED, FOLDED, TRANSPARENT, FLOAT = STATES = ("int8", "observed", "folded", "transparent", "float")
SHOWN_SITES = 4
FACTORS = frozenset({"input_factors", "result_factors"})


@dataclass(frozen=True)
class Row:
    """One operation of the model.

    ``site``: its place: a layer's path, ``layer1.0.add#0`` for a functional operation, ``layer1.0.sin~0`` for one that only the
    traced program shows; ``op``: its type; ``state``: one of `STATES`; ``reason``: why it is not int8, empty where that is plain;
    ``macs``: multiply-accumulates of one call; ``bytes``, ``float_bytes``: its parameters as they are stored, and in a float model.
    A parameter that several operations read counts at the first.  ``input_factors``, ``result_factors``: what the channels that a layer
    reads and computes are multiplied by where their tensors have grids per channel, empty for nothing, ``None`` where it is not known.
    """

    site: str
    op: str
    state: str
    reason: str = ""
    macs: int = 0
    bytes: int = 0
    float_bytes: int = 0
    input_factors: tuple[float, ...] | None = None
    result_factors: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Ledger:
    """What became of every operation of a model.

    ``model``: name of its class; ``converted``: false for a forecast, made from a model that is being calibrated; ``inputs``: what
    the model was traced with, to which the multiply-accumulates belong; ``untraced``: why there is no trace, then only layers have
    rows, without multiply-accumulates.
    """

    model: str
    converted: bool
    inputs: tuple[str, ...]
    rows: tuple[Row, ...]
    untraced: str = ""

    @property
    def channel_factors(self) -> list[tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]] | None:
        """``input_factors`` and ``result_factors`` of all rows with multiply-accumulates; ``None`` where they are not known."""
        rows = [row for row in self.rows if row.macs]
        if any(row.result_factors is None for row in rows):
            return None
        return [(_array(row.input_factors), _array(row.result_factors)) for row in rows]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call."""
        return sum(row.macs for row in self.rows)

    @property
    def int8_macs(self) -> int:
        """Those of them that are computed on integers."""
        return sum(row.macs for row in self.rows if row.state == INT8)

    @property
    def int8_share(self) -> float:
        """Their share; 1.0 when there are none."""
        return self.int8_macs / self.macs if self.macs else 1.0

    @property
    def bytes(self) -> int:
        """Bytes of the parameters as they are stored."""
        return sum(row.bytes for row in self.rows)

    @property
    def float_bytes(self) -> int:
        """Bytes of the same parameters in a float model."""
        return sum(row.float_bytes for row in self.rows)

    def by_op(self) -> dict[str, dict[str, int]]:
        """For every type of operation: how many are in each state, their ``macs``, ``int8_macs``, ``bytes`` and ``float_bytes``."""
        totals: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            int8_macs = row.macs if row.state == INT8 else 0
            totals[row.op].update({row.state: 1})
            totals[row.op].update(macs=row.macs, int8_macs=int8_macs, bytes=row.bytes, float_bytes=row.float_bytes)
        return {op: dict(total) for op, total in totals.items()}

    def lines(self, full: bool = False) -> list[str]:
        """The ledger for people: totals, then what stays float and why; ``full`` for every row."""
        states = Counter(row.state for row in self.rows)
        counts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
        title = f"coverage of {self.model}{'' if self.converted else ' (forecast, not converted yet)'}"
        lines = [f"{title}: {counts or 'no operation'}"]
        if self.untraced:
            lines.append(f"  layers only, without multiply-accumulates: {self.untraced}")
        else:
            call = f"one call with {', '.join(self.inputs)}"
            lines.append(f"  {self.int8_share:.2%} of {_short(self.macs)} multiply-accumulates in int8 ({call})")
        lines.append(f"  parameters: {_short(self.bytes, 'B')}, in float {_short(self.float_bytes, 'B')}")
        return lines + _table(_every_row(self.rows) if full else _by_type(self)) + ([] if full else list(_left_float(self.rows)))

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """The ledger as JSON can hold it, totals included."""
        states = Counter(row.state for row in self.rows)
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "converted": self.converted,
            "inputs": list(self.inputs),
            "untraced": self.untraced,
            "totals": {
                "ops": {state: states[state] for state in STATES},
                "macs": self.macs,
                "int8_macs": self.int8_macs,
                "int8_share": self.int8_share,
                "bytes": self.bytes,
                "float_bytes": self.float_bytes,
                "by_op": self.by_op(),
            },
            "rows": [asdict(row) for row in self.rows],
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the ledger as a JSON file, as a whole or not at all.

        Raises:
            ConfigError: ``path`` is no path.
            ArtifactError: the file cannot be written.
        """
        write_json(path, self.to_dict())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Ledger:
        """The ledger that `to_json` wrote; totals are computed again from its rows.

        Raises:
            ConfigError: ``path`` is no path.
            ArtifactError: the file cannot be read.
            CorruptArtifactError: it is not a ledger of this version.
        """
        try:
            content = read_json(path)
        except CorruptArtifactError as error:
            raise CorruptArtifactError(f"{os.fspath(path)} is no coverage ledger: {error}") from error
        try:
            return _ledger(content)
        except ValueError as error:
            raise CorruptArtifactError(f"{os.fspath(path)} is no coverage ledger: {error}; save the model again") from error


def _ledger(content: Any) -> Ledger:
    """The ledger of a file's content; raises ``ValueError`` for any other."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if content.get("version") != VERSION:
        raise ValueError(f"its version is {content.get('version')!r}, this package reads {VERSION}")
    kinds: dict[str, Any] = {"model": str, "converted": bool, "inputs": list, "untraced": str, "rows": list}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{name!r} is missing or of the wrong type")
    if not all(isinstance(item, str) for item in content["inputs"]):
        raise ValueError("'inputs' holds something else than strings")
    rows = tuple(_row(number, item) for number, item in enumerate(content["rows"]))
    return Ledger(content["model"], content["converted"], tuple(content["inputs"]), rows, content["untraced"])


def _row(number: int, item: Any) -> Row:
    types = {field.name: str if field.type == "str" else int for field in fields(Row) if field.name not in FACTORS}
    if (
        not isinstance(item, Mapping)
        or item.keys() - FACTORS != types.keys()
        or any(type(item[key]) is not kind for key, kind in types.items())
    ):
        raise ValueError(f"row {number} is malformed")
    factors = {name: _factors(number, item.get(name)) for name in FACTORS}
    if item["state"] not in STATES or min(item["macs"], item["bytes"], item["float_bytes"]) < 0:
        raise ValueError(f"row {number} has an unknown state or a negative size")
    return Row(**{**item, **factors})


def _array(factors: tuple[float, ...] | None) -> npt.NDArray[np.float64] | None:
    return np.asarray(factors, dtype=np.float64) if factors else None


def _factors(number: int, found: Any) -> tuple[float, ...] | None:
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(factor, (int, float)) and 0 < factor < math.inf for factor in found):
        raise ValueError(f"row {number} has factors that are not positive numbers")
    return tuple(found)


def _short(number: int, unit: str = "") -> str:
    for limit, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= limit:
            return f"{number / limit:.2f} {prefix}{unit}"
    return f"{number} {unit}".strip()


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _every_row(rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    yield "site", "op", "state", "MACs", "bytes", "in float", "reason"
    for row in rows:
        yield row.site, row.op, row.state, str(row.macs), str(row.bytes), str(row.float_bytes), row.reason


def _by_type(ledger: Ledger) -> Iterator[tuple[str, ...]]:
    totals = ledger.by_op()
    yield "op", *STATES, "MACs", "in int8", "bytes"
    for op, total in sorted(totals.items(), key=lambda item: -item[1]["macs"]):
        share = f"{total['int8_macs'] / total['macs']:.1%}" if total["macs"] else "-"
        yield op, *(str(total.get(state) or "-") for state in STATES), _short(total["macs"]), share, str(total["bytes"])


def _left_float(rows: Iterable[Row]) -> Iterator[str]:
    """One line for every reason, those that cost most first."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.state in (FLOAT, OBSERVED):
            groups[row.op, row.state, row.reason].append(row)
    for (op, state, reason), group in sorted(groups.items(), key=lambda item: -sum(row.macs for row in item[1])):
        sites = ", ".join(row.site or "the model" for row in group[:SHOWN_SITES])
        more = f" and {len(group) - SHOWN_SITES} more" if len(group) > SHOWN_SITES else ""
        yield f"  {state}: {len(group)} {op}: {reason} ({sites}{more})"
