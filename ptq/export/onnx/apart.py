"""Run as ``python -m ptq.export.onnx.apart REQUEST ARRAYS ANSWER``: the check of one ONNX file by OpenVINO, apart.

OpenVINO has been seen to end the process while it compiles a valid file; that must not be the process that is saving the model.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ArtifactError, MismatchError

from ...util.child import run_module
from ...util.extras import import_extra
from ...util.messages import last_line
from ...util.npz import load_arrays, save_arrays
from ..report import Kernel, RuntimeReport
from .compare import check_runtime
from .runtimes import OpenVino

__all__ = ["check_apart"]


def check_apart(
    file: str, inputs: Mapping[str, np.ndarray], expected: Sequence[np.ndarray], simulated: Path | None, by_layer: bool = False
) -> RuntimeReport:
    """OpenVINO's report on the file, see `check.check_onnx`.

    Raises:
        MismatchError: OpenVINO computes something else than the model in memory, or fails on the file.
    """
    with tempfile.TemporaryDirectory(prefix="ptq-openvino-") as folder:
        request, arrays, answer = (Path(folder, name) for name in ("request.json", "arrays.npz", "answer.json"))
        asked = {
            "file": os.path.abspath(file),
            "inputs": list(inputs),
            "simulated": simulated and os.path.abspath(simulated),
            "by_layer": by_layer,
        }
        request.write_text(json.dumps(asked), encoding="utf-8")
        save_arrays(arrays, [*inputs.values(), *expected])
        try:
            run_module("ptq.export.onnx.apart", str(request), str(arrays), str(answer))
        except ArtifactError as error:
            raise MismatchError(f"{file}: {OpenVino.name} fails on it ({last_line(error)})") from error
        found = json.loads(answer.read_text(encoding="utf-8"))
    if "mismatch" in found:
        raise MismatchError(found["mismatch"])
    kernels = tuple(Kernel(**kernel) for kernel in found["kernels"])
    return RuntimeReport(found["runtime"], float(found["sqnr_db"]), kernels, tuple(found["notes"]))


def _answer(request: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    names = request["inputs"]
    model = import_extra("onnx", "onnx").load(request["file"])
    simulated = Path(request["simulated"]) if request["simulated"] else None
    given = dict(zip(names, arrays, strict=False))
    try:
        report = check_runtime(request["file"], model, OpenVino(), given, arrays[len(names) :], simulated, request["by_layer"])
    except MismatchError as error:
        return {"mismatch": str(error)}
    return asdict(report) | {"sqnr_db": str(report.sqnr_db)}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(
        json.dumps(_answer(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), load_arrays(Path(sys.argv[2])))), encoding="utf-8"
    )
