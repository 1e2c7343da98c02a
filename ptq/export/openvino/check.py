"""Checks OpenVINO's own files with OpenVINO, against the model in memory and layer by layer, as the ONNX model is that they are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantizers.errors import ArtifactError, MismatchError

from ...runtimes.cpu import this_cpu
from ...runtimes.openvino import OWN_FILE
from ...util.extras import import_extra
from ...util.messages import last_line
from ..mismatch import RAISE, settle
from ..onnx.apart import check_apart
from ..onnx.halved import has_wide_weights
from ..report import RuntimeReport
from .write import OPENVINO_SUFFIXES, simulated_beside, source_of

__all__ = ["check_openvino"]


def check_openvino(
    prefix: str, inputs: Sequence[np.ndarray], expected: Sequence[np.ndarray], on_mismatch: str = RAISE
) -> list[RuntimeReport]:
    """The report of OpenVINO on its files at a prefix, where `write_openvino` left what they are made of.

    Raises:
        MismatchError: the answers are not those of the model in memory, and the files are not to be kept.
    """
    model = import_extra("onnx", "onnx").load(str(source_of(prefix)))
    names, file = [item.name for item in model.graph.input], prefix + OPENVINO_SUFFIXES[0]
    if len(names) != len(inputs):
        raise MismatchError(f"{file} takes {len(names)} inputs ({', '.join(names)}), the model in memory {len(inputs)}")
    given, simulated = dict(zip(names, inputs, strict=True)), simulated_beside(prefix)
    saturates = this_cpu().saturates and has_wide_weights(model)
    try:
        report = check_apart(str(source_of(prefix)), given, expected, simulated, saturates=saturates, own_file=file)
    except ArtifactError as error:
        report = RuntimeReport(OWN_FILE, float("-inf"), (), (), f"{file}: OpenVINO fails on it ({last_line(error)})")
    settle(report.mismatch, on_mismatch)
    return [report]
