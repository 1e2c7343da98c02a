"""Checks an int8 ONNX file with the runtimes that will execute it: its answers, layer by layer where they differ, and its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quantizers.errors import MismatchError

from ...util.extras import import_extra
from ...util.messages import warn
from ..report import RuntimeReport
from .apart import check_apart
from .compare import ENOUGH_DB, check_runtime, sqnr_db
from .runtimes import OnnxRuntime, OpenVino, has_openvino

__all__ = ["ENOUGH_DB", "check_onnx", "check_runtime", "sqnr_db"]


def check_onnx(
    file: Path,
    inputs: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    simulated: Path | None = None,
    *,
    by_layer: bool = False,
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

    Returns:
        A report for ONNX Runtime, and one for OpenVINO where it is installed.

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
    reports = [check_runtime(str(file), model, OnnxRuntime(), given, expected, simulated, by_layer)]
    if has_openvino():
        try:
            reports.append(check_apart(str(file), given, expected, simulated, by_layer))
        except MismatchError as error:  # the file is right, as ONNX Runtime has shown: whoever uses only that shall have it
            warn(f"do not use this file with {OpenVino.name}: {error}")
            reports.append(RuntimeReport(OpenVino.name, float("-inf"), (), (f"  do not use: {error}",)))
    return reports
