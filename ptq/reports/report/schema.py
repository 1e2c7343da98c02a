"""The schema of a report's JSON, and the check of a file against it.

A schema is a type, a tuple of alternatives, a list of one item's schema, a dict of fields, or a `Map`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from quantizers.errors import CorruptArtifactError

__all__ = ["FORMAT", "SCHEMA", "VERSION", "check_content"]

FORMAT, VERSION = "paddle-ptq report", 1


class Map(NamedTuple):
    """An object with any names, whose values fit ``item``; ``object`` for anything."""

    item: Any


class Number:
    """A finite number, or one of the texts ``inf``, ``-inf``, ``nan``."""


TEXT = {"en": str, "zh": str}
SHARE = (Number, None)
TENSOR = {
    "low": Number,
    "high": Number,
    "counts": [int],
    "rms": Number,
    "tail": Number,
    "spread": Number,
    "sqnr_db": SHARE,
    "grid_low": SHARE,
    "grid_high": SHARE,
    "step": SHARE,
    "bits": (int, None),
    "signed": bool,
    "clipped": Number,
    "rule": str,
}
WEIGHT = {
    "shape": [int],
    "bits": (int, None),
    "sqnr_db": SHARE,
    "low": [Number],
    "high": [Number],
    "channel_db": [Number],
    "rule": str,
}
KERNELS = {
    "runtime": str,
    "float_kernel": str,
    "int8_kernel": str,
    "is_int8": bool,
    "float_us": Number,
    "int8_us": Number,
}
LAYER = {
    "name": str,
    "op": str,
    "block": str,
    "state": str,
    "reason": str,
    "macs": int,
    "alone_db": SHARE,
    "total_db": SHARE,
    "input": (TENSOR, None),
    "weight": (WEIGHT, None),
    "kernels": (KERNELS, None),
}
OUTPUT = {
    "name": str,
    "shape": [int],
    "sqnr_db": Number,
    "largest_difference": Number,
    "largest": Number,
    "agreement": SHARE,
}
FINDING = {
    "rule": str,
    "layers": [str],
    "weight": Number,
    "evidence": TEXT,
    "reason": TEXT,
    "action": TEXT,
    "code": str,
}
CHECK = {"severity": str, "layer": str, "code": str, "message": str, "advice": str}
NODE = {"site": str, "op": str, "block": str, "state": str, "macs": int}
SPEED = {"runtime": str, "threads": int, "batch": int, "float_ms": Number, "int8_ms": Number, "ratio": Number}
STEP = {"name": str, "before": Number, "after": Number, "kept": bool, "seconds": Number}

SCHEMA: dict[str, Any] = {
    "format": str,
    "version": int,
    "title": str,
    "made": Map(str),
    "placement": str,
    "calibrated": ({"samples": int, "batches": int, "fingerprint": str}, None),
    "data": {"samples": int, "batches": int, "fingerprint": str},
    "reproduce": str,
    "outputs": [OUTPUT],
    "metric": ({"name": str, "float": Number, "int8": Number}, None),
    "bytes": ({"float": int, "int8": int}, None),
    "speed": (SPEED, None),
    "verdict": [TEXT],
    "findings": [FINDING],
    "layers": [LAYER],
    "check": [CHECK],
    "coverage": (Map(object), None),
    "recovery": [STEP],
    "graph": ({"nodes": [NODE], "edges": [[int]]}, None),
    "notes": [str],
}


def check_content(content: Any, where: str = "the report") -> dict[str, Any]:
    """The same content, once it fits the schema of this version.

    Raises:
        CorruptArtifactError: it does not; the message names the first place.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CorruptArtifactError(f"{where} is no report: its format is not {FORMAT!r}")
    if content.get("version") != VERSION:
        raise CorruptArtifactError(f"{where} has version {content.get('version')!r}, this package reads {VERSION}; make the report again")
    problem = _problem(content, SCHEMA, "")
    if problem:
        raise CorruptArtifactError(f"{where} is malformed at {problem}; make the report again")
    return content


def _problem(value: Any, schema: Any, place: str) -> str:
    """The first place that does not fit; empty when all does."""
    if isinstance(schema, Map):
        if not isinstance(value, dict):
            return place
        return "" if schema.item is object else _first(_problem(item, schema.item, f"{place}.{name}") for name, item in value.items())
    if isinstance(schema, tuple):
        found = [_problem(value, item, place) for item in schema]
        return "" if "" in found else found[0]
    if isinstance(schema, dict):
        if not isinstance(value, dict) or value.keys() != schema.keys():
            return place or "its names"
        return _first(_problem(value[name], item, f"{place}.{name}".lstrip(".")) for name, item in schema.items())
    if isinstance(schema, list):
        if not isinstance(value, list):
            return place
        return _first(_problem(item, schema[0], f"{place}[{number}]") for number, item in enumerate(value))
    return "" if _is_plain(value, schema) else place


def _is_plain(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is Number:
        return (isinstance(value, (int, float)) and not isinstance(value, bool)) or value in ("inf", "-inf", "nan")
    return type(value) is kind


def _first(problems: Any) -> str:
    return next((problem for problem in problems if problem), "")
