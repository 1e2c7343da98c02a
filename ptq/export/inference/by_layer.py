"""Compares what Paddle Inference's engine makes of each layer with the saved program, both fed the same integers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtimes.paddle_inference import run_once
from ...util.child import run_module
from ...util.compare import sqnr_db
from ...util.npz import load_arrays
from .predictor import INFERENCE_SUFFIXES

__all__ = ["RUNTIME", "ByLayer", "Request", "compare_layers", "request_of"]

RUNTIME = "Paddle Inference (OpenVINO engine)"
# An output that lies on no grid has no steps; computed from exact inputs it is at least so near.
LEAST_SQNR = 35.0


@dataclass(frozen=True)
class Request:
    """What the writer's process is asked for, see `ptq.export.inference.__main__`."""

    content: Mapping[str, Any]

    def serve(self) -> None:
        """Has it served, in a process of its own."""
        with tempfile.TemporaryDirectory(prefix="ptq-inference-") as folder:
            path = Path(folder, "request.json")
            path.write_text(json.dumps(self.content), encoding="utf-8")
            run_module("ptq.export.inference", str(path))


def request_of(source: str, target: str, names: Mapping[str, str] | None, **more: Any) -> Request:
    """A request to write the program at ``source`` for the engine, at ``target``."""
    return Request({"source": os.path.abspath(source), "target": os.path.abspath(target), "names": dict(names or {}), **more})


@dataclass(frozen=True)
class ByLayer:
    """``mismatch``: which layer is computed differently, empty when none is; ``note``: what was compared; ``halved``: with what weights."""

    mismatch: str
    note: str
    halved: bool


def compare_layers(prefix: str, given: Path, folder: Path, names: Mapping[str, str] | None, saturates: bool) -> ByLayer:
    """Compares every grid, and every output that lies on none, each computed from exact inputs.

    Args:
        prefix: of the portable program; ``given``: the file of its inputs; ``folder``: to work in; ``names``: as in `write_inference`.
        saturates: halve weights with which this processor's kernels would saturate, in the engine and in the program: whatever else is
            wrong with the file shows all the same.
    """
    target, values, facts = str(folder / "cut"), folder / "values.npz", folder / "cut.json"
    more = {"inputs": str(given), "values": str(values), "facts": str(facts), "halve": saturates}
    request_of(prefix, f"{target}.infer", names, **more).serve()
    described = json.loads(facts.read_text(encoding="utf-8"))
    grids, loose, arrays = described["grids"], described["loose"], load_arrays(values)
    references, inputs = arrays[: len(grids)], load_arrays(given)
    given_again = [reference for grid, reference in zip(grids, references, strict=True) if grid["read"]]
    answers = run_once((target + INFERENCE_SUFFIXES[0], target + INFERENCE_SUFFIXES[1]), [*inputs, *given_again])
    mismatch = _grids_apart(grids, references, answers) or _outputs_apart(loose, arrays[len(grids) :], answers[len(grids) :])
    note = _note(grids, references, answers, _samples(inputs), len(loose), described["halved"])
    return ByLayer(f"{prefix}: {mismatch}" if mismatch else "", note, described["halved"])


def _grids_apart(grids: Sequence[Mapping[str, Any]], references: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> str:
    for grid, reference, answer in zip(grids, references, answers, strict=False):
        largest = float(_differences(answer, reference).max(initial=0.0))
        if not largest < grid["tolerance"] + 0.5 * grid["scale"]:
            return f"{RUNTIME} computes {grid['place']} {largest / grid['scale']:.1f} steps of its grid away from the model in memory"
    return ""


def _outputs_apart(loose: Sequence[int], references: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> str:
    for number, reference in zip(loose, references, strict=True):
        sqnr = sqnr_db(reference, outputs[number])
        if not sqnr >= LEAST_SQNR:
            return f"from exact inputs {RUNTIME} computes output {number}, which lies on no grid, at {sqnr:.1f} dB"
    return ""


def _note(
    grids: Sequence[Mapping[str, Any]],
    references: Sequence[np.ndarray],
    answers: Sequence[np.ndarray],
    samples: str,
    loose: int,
    halved: bool,
) -> str:
    """What was compared, on how many samples, with which tolerance, and how it came out."""
    differences = [_differences(answer, reference) for answer, reference in zip(answers, references, strict=False)]
    off = sum(int((found > 0.5 * grid["scale"]).sum()) for grid, found in zip(grids, differences, strict=True))
    worst = max((float(found.max(initial=0.0)) / grid["scale"] for grid, found in zip(grids, differences, strict=True)), default=0.0)
    total = sum(found.size for found in differences)
    weights = ", with weights halved to 7 bits, which saturate nowhere" if halved else ""
    outputs = f", each of {loose} outputs on no grid at {LEAST_SQNR:.0f} dB or more" if loose else ""
    return (
        f"  compared layer by layer on {samples}{weights}: fed the same inputs, each of {len(grids)} grids is {_allowed(grids)}; "
        f"{off / max(1, total):.2%} of their integers differ, by {worst:.0f} at most{outputs}"
    )


def _allowed(grids: Sequence[Mapping[str, Any]]) -> str:
    wide = [steps for grid in grids if (steps := grid["tolerance"] / grid["scale"]) > 1.01]
    if not wide:
        return "within one step"
    single = f"{len(grids) - len(wide)} within one of their steps, " if len(wide) < len(grids) else ""
    return f"as near as it can be: {single}{len(wide)}, behind grids that the engine merges, within {max(wide):.0f} steps"


def _samples(inputs: Sequence[np.ndarray]) -> str:
    count = next((array.shape[0] for array in inputs if array.ndim), 1)
    return f"{count} sample{'s' * (count != 1)}"


def _differences(answer: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(answer.astype(np.float64) - reference))
