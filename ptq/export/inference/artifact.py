"""Paddle Inference: the legacy ``.pdmodel`` that its OpenVINO engine runs in int8, written from the portable program and checked."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...runtimes.cpu import Cpu, this_cpu
from ...runtimes.onednn_log import VERBOSE, primitives
from ...util.child import run_module
from ...util.compare import sqnr_db
from ...util.messages import warn
from ...util.npz import load_arrays, save_arrays
from ..mismatch import RAISE, settle
from ..report import RuntimeReport
from ..saturation import told
from .by_layer import RUNTIME, ByLayer, compare_layers, request_of
from .kernels import match
from .layers import Layer

__all__ = ["INFERENCE_FILES", "RUNTIME", "check_inference", "write_inference"]

# The last lets `paddle.jit.load` open the folder that the other two lie in.
INFERENCE_FILES = (".infer.pdmodel", ".infer.pdiparams", ".infer.json")
LEAST_SQNR = 35.0
WORST_SQNR = 3.0  # not even amplified roundings explain less


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
    request_of(jit_prefix, f"{target_prefix}.infer", names).serve()


def check_inference(
    prefix: str,
    inputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    names: Mapping[str, str] | None = None,
    on_mismatch: str = RAISE,
) -> list[RuntimeReport]:
    """Runs the exported model in a fresh process and compares its answers.

    Integer kernels may round a tie the other way, and deep networks amplify that; so where an answer is below 35 dB, every layer is
    computed from the inputs that it has in the saved program, and must agree within one step of its output's grid.  On a processor
    without VNNI the engine's kernels saturate with weights of 8 bits; there the layers are compared with halved weights.

    Args:
        prefix: the artifact's, with ``prefix.json`` and ``prefix.pdiparams`` beside the exported files.
        inputs, expected: arrays in the order of the program's inputs and outputs.
        names: as in `write_inference`.
        on_mismatch: ``"raise"``, or ``"keep"``: warn, and say in the report that the check failed.

    Raises:
        MismatchError: the model answers differently; the message names the first layer that does.
        ArtifactError: it cannot be run.
    """
    with tempfile.TemporaryDirectory(prefix="ptq-inference-") as folder:
        given, answered = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        save_arrays(given, inputs)
        files = os.path.abspath(prefix), str(given), str(answered)
        printed = run_module("ptq.export.inference.observe", *files, environment={VERBOSE: "1"})
        answers = load_arrays(answered)
        layers = [Layer(**{**item, "sizes": tuple(item["sizes"])}) for item in json.loads(answered.with_suffix(".json").read_text())]
        kernels = tuple(match(layers, primitives(printed.splitlines())))
        report = RuntimeReport(RUNTIME, float("-inf"), kernels, (), _other_shapes(prefix, answers, expected))
        if not report.mismatch:
            report = replace(report, sqnr_db=min((sqnr_db(e, a) for e, a in zip(expected, answers, strict=True)), default=float("inf")))
        if not report.mismatch and report.sqnr_db < LEAST_SQNR:
            cpu = this_cpu()
            report = _judged(prefix, report, compare_layers(prefix, given, Path(folder), names, cpu.saturates), cpu)
    settle(report.mismatch and f"{report.mismatch}; use the format 'onnx'", on_mismatch)
    return [report]


def _judged(prefix: str, report: RuntimeReport, found: ByLayer, cpu: Cpu) -> RuntimeReport:
    """The report with what the comparison of layers says about answers that are far from the model's."""
    if found.mismatch:
        return replace(report, mismatch=found.mismatch)
    if found.halved and report.sqnr_db != float("-inf"):
        warn(f"{prefix}: {told(RUNTIME, cpu, report.sqnr_db)}")
        return replace(report, notes=(f"  {told(RUNTIME, cpu, report.sqnr_db)}", found.note))
    mismatch = ""
    if not report.sqnr_db >= WORST_SQNR:
        mismatch = f"{prefix}: {RUNTIME} answers at {report.sqnr_db:.1f} dB against the model in memory"
    note = f"  below {LEAST_SQNR:.0f} dB because later layers amplify roundings:"
    return replace(report, notes=(note, found.note), mismatch=mismatch)


def _other_shapes(prefix: str, answers: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str:
    found, wanted = ([(list(array.shape), str(array.dtype)) for array in arrays] for arrays in (answers, expected))
    return "" if found == wanted else f"{prefix}: {RUNTIME} answers with {found}, the model in memory with {wanted}"
