"""Paddle Inference: the legacy ``.pdmodel`` that its OpenVINO engine runs in int8, written from the portable program and checked."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantizers.errors import MismatchError

from ...util.child import run_module
from ...util.npz import load_arrays, save_arrays
from ..report import RuntimeReport
from .layers import Layer
from .onednn_verbose import compute_primitives, match, run_verbose

__all__ = ["INFERENCE_FILES", "RUNTIME", "check_inference", "write_inference"]

# The last lets `paddle.jit.load` open the folder that the other two lie in.
INFERENCE_FILES = (".infer.pdmodel", ".infer.pdiparams", ".infer.json")
RUNTIME = "Paddle Inference (OpenVINO engine)"
LEAST_SQNR = 35.0
WORST_SQNR = 3.0  # not even amplified roundings explain less
ADVICE = "the files were not kept; use the format 'onnx'"


def write_inference(jit_prefix: str, target_prefix: str, names: Mapping[str, str] | None = None) -> None:
    """Writes ``target_prefix.infer.pdmodel`` and ``.infer.pdiparams``, and the ``.infer.json`` that `paddle.jit.load` needs beside them.

    Args:
        jit_prefix: prefix of a program saved by `paddle.jit.save`; float programs are written as they are.
        target_prefix: prefix of the files to write.
        names: what to call stored tensors, by their names in the saved program; reports name layers after them.

    Raises:
        ExportError: the program has an operation that Paddle Inference's int8 engine does not run; the message names it.
        ArtifactError: the files cannot be read or written.
    """
    _write({"source": os.path.abspath(jit_prefix), "target": os.path.abspath(f"{target_prefix}.infer"), "names": dict(names or {})})


def _write(request: Mapping[str, object]) -> None:
    with tempfile.TemporaryDirectory(prefix="ptq-inference-") as folder:
        path = Path(folder, "request.json")
        path.write_text(json.dumps(request), encoding="utf-8")
        run_module("ptq.export.inference", str(path))


def check_inference(
    prefix: str, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], names: Mapping[str, str] | None = None
) -> list[RuntimeReport]:
    """Runs the exported model in a fresh process and compares its answers.

    Integer kernels may round a tie the other way, and deep networks amplify that; so where an answer is below 35 dB, every layer is
    computed from the inputs that it has in the saved program, and must agree within one step of its output's grid.

    Args:
        prefix: the artifact's, with ``prefix.json`` and ``prefix.pdiparams`` beside the exported files.
        inputs, expected: arrays in the order of the program's inputs and outputs.
        names: as in `write_inference`.

    Raises:
        MismatchError: the model answers differently; the message names the first layer that does.
        ArtifactError: it cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="ptq-inference-") as folder:
        given, answered = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        save_arrays(given, inputs)
        printed = run_module(
            "ptq.export.inference.onednn_verbose", os.path.abspath(prefix), str(given), str(answered), environment={"ONEDNN_VERBOSE": "1"}
        )
        answers = load_arrays(answered)
        layers = [Layer(**{**item, "sizes": tuple(item["sizes"])}) for item in json.loads(answered.with_suffix(".json").read_text())]
        _check_shapes(prefix, answers, expected)
        sqnr = min((_sqnr(e, a) for e, a in zip(expected, answers, strict=True)), default=float("inf"))
        notes = [] if sqnr >= LEAST_SQNR else [_compare_layers(prefix, given, Path(folder), names, expected)]
        if not sqnr >= WORST_SQNR:
            raise MismatchError(f"{prefix}: {RUNTIME} answers at {sqnr:.1f} dB against the model in memory; {ADVICE}")
    return [RuntimeReport(RUNTIME, sqnr, tuple(match(layers, compute_primitives(printed.splitlines()))), notes)]


def _compare_layers(prefix: str, given: Path, folder: Path, names: Mapping[str, str] | None, expected: Sequence[np.ndarray]) -> str:
    """Compares every grid, and every output that lies on none, each computed from exact inputs."""
    target, values, facts = str(folder / "cut"), folder / "values.npz", folder / "cut.json"
    request = {
        "source": os.path.abspath(prefix),
        "target": f"{target}.infer",
        "names": dict(names or {}),
        "inputs": str(given),
        "values": str(values),
        "facts": str(facts),
    }
    _write(request)
    references, described = load_arrays(values), json.loads(facts.read_text(encoding="utf-8"))
    given_again = [reference for grid, reference in zip(described["grids"], references, strict=True) if grid["read"]]
    answers = run_verbose(target, [*load_arrays(given), *given_again])
    worst, off, total = 0.0, 0, 0
    for grid, reference, answer in zip(described["grids"], references, answers, strict=False):
        differences = np.abs(answer.astype(np.float64) - reference)
        largest = float(differences.max(initial=0.0))
        if not largest < grid["tolerance"] + 0.5 * grid["scale"]:
            steps = largest / grid["scale"]
            raise MismatchError(
                f"{prefix}: {RUNTIME} computes {grid['place']} {steps:.1f} steps of its grid away from the model in memory; {ADVICE}"
            )
        worst, off, total = (
            max(worst, largest / grid["scale"]),
            off + int((differences > 0.5 * grid["scale"]).sum()),
            total + differences.size,
        )
    for number in described["loose"]:
        sqnr = _sqnr(expected[number], answers[len(references) + number])
        if not sqnr >= LEAST_SQNR:
            raise MismatchError(
                f"{prefix}: from exact inputs {RUNTIME} computes output {number}, which lies on no grid, at {sqnr:.1f} dB; {ADVICE}"
            )
    return (
        f"  below {LEAST_SQNR:.0f} dB because later layers amplify roundings: fed the same inputs, "
        f"each of {len(references)} grids is within one step; {off / total:.2%} of their integers differ, by {worst:.0f} at most"
    )


def _check_shapes(prefix: str, answers: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    if [(a.shape, a.dtype) for a in answers] != [(e.shape, e.dtype) for e in expected]:
        found = [(list(a.shape), str(a.dtype)) for a in answers], [(list(e.shape), str(e.dtype)) for e in expected]
        raise MismatchError(f"{prefix}: {RUNTIME} answers with {found[0]}, the model in memory with {found[1]}; {ADVICE}")


def _sqnr(expected: np.ndarray, answer: np.ndarray) -> float:
    """Signal over difference in dB; minus infinity where only one of them is finite."""
    a, e = answer.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(e)
    if not np.array_equal(finite, np.isfinite(a)):
        return float("-inf")
    noise, signal = np.square(a - e)[finite].sum(), np.square(e)[finite].sum()
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")
