"""Checks an int8 ONNX file with the runtimes that will execute it: its answers, layer by layer where they differ, and its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from quantizers.errors import ArtifactError, MismatchError

from ...runtimes.cpu import this_cpu
from ...runtimes.onnxruntime import EXACT, OnnxRuntime
from ...runtimes.openvino import OPENVINO, has_openvino
from ...util.extras import import_extra
from ...util.messages import last_line, warn
from ..mismatch import RAISE, settle
from ..report import RuntimeReport
from .apart import check_apart
from .compare import ENOUGH_DB, check_runtime
from .halved import has_wide_weights

__all__ = ["ENOUGH_DB", "check_onnx", "check_runtime"]


def check_onnx(
    file: Path,
    inputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    simulated: Path | None = None,
    *,
    by_layer: bool = False,
    on_mismatch: str = RAISE,
) -> list[RuntimeReport]:
    """Runs an int8 ONNX file in every installed runtime and compares its answers with those of the model in memory.

    Integer kernels sum exactly where floats round, so a value may fall on the neighbouring step of a grid.  When the answers are
    below `ENOUGH_DB` for that or another reason, each layer is fed the simulated model's integers, and must answer within one step.

    Args:
        file: what `write_onnx` wrote.
        inputs: one array for each input of the file.
        expected: what the model in memory answers to them.
        simulated: the simulated model that `write_onnx` left; without it nothing is compared layer by layer.
        by_layer: compare layer by layer also where the answers are close enough.
        on_mismatch: ``"raise"``, or ``"keep"``: warn, and say in the report that the check failed.

    Returns:
        A report for ONNX Runtime, and one for OpenVINO where it is installed.  On a processor without VNNI kernels saturate with weights
        of 8 bits: ONNX Runtime is then checked in the setting that avoids it, OpenVINO has none and is compared with halved weights.

    Raises:
        MismatchError: with ONNX Runtime an answer has another shape or is not finite, or a layer computes something else.  Where only
            OpenVINO is wrong, a warning and its report say so.
        MissingExtraError: the extra ``onnx`` is not installed.
    """
    onnx = import_extra("onnx", "onnx")
    model = onnx.load(str(file))
    names = [item.name for item in model.graph.input]
    if len(names) != len(inputs):
        raise MismatchError(f"{file} takes {len(names)} inputs ({', '.join(names)}), the model in memory {len(inputs)}")
    given = dict(zip(names, inputs, strict=True))
    cpu = this_cpu()
    saturates = cpu.saturates and has_wide_weights(model)
    reports = [check_runtime(str(file), model, OnnxRuntime(exact=saturates), given, expected, simulated, by_layer)]
    if saturates:
        setting = "=".join(EXACT)
        advice = f"  {cpu} has no VNNI: checked with {setting}, without which its int8 sums saturate; set it where you deploy too"
        reports[0] = replace(reports[0], notes=(*reports[0].notes, advice))
    settle(reports[0].mismatch, on_mismatch)
    if has_openvino():
        try:
            reports.append(check_apart(str(file), given, expected, simulated, by_layer, saturates))
        except ArtifactError as error:
            failed = f"{file}: {OPENVINO} fails on it ({last_line(error)})"
            reports.append(RuntimeReport(OPENVINO, float("-inf"), (), (), failed))
        if reports[-1].mismatch:  # the file is right, as ONNX Runtime has shown: whoever uses only that shall have it
            warn(f"do not use this file with {reports[-1].runtime}: {reports[-1].mismatch}")
    return reports
