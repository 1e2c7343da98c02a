"""Run as ``python -m ptq.export.onnx.apart REQUEST ARRAYS ANSWER``: the check of one ONNX file by OpenVINO, apart.

OpenVINO has been seen to end the process while it compiles a valid file; that must not be the process that is saving the model.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import QuantizationWarning

from ...runtimes.openvino import OpenVino
from ...util.child import run_module
from ...util.extras import import_extra
from ...util.messages import warn
from ...util.npz import load_arrays, save_arrays
from ..report import Kernel, RuntimeReport
from .compare import check_runtime

__all__ = ["check_apart"]


def check_apart(
    file: str,
    inputs: Mapping[str, np.ndarray],
    expected: Sequence[np.ndarray],
    simulated: Path | None,
    by_layer: bool = False,
    saturates: bool = False,
    own_file: str = "",
) -> RuntimeReport:
    """OpenVINO's report on the file, see `check.check_onnx`; or on the ``own_file`` in its own format that was made of it.

    Raises:
        ArtifactError: OpenVINO fails on the file, or ends its process.
    """
    with tempfile.TemporaryDirectory(prefix="ptq-openvino-") as folder:
        request, arrays, answer = (Path(folder, name) for name in ("request.json", "arrays.npz", "answer.json"))
        asked = {
            "file": os.path.abspath(file),
            "inputs": list(inputs),
            "simulated": simulated and os.path.abspath(simulated),
            "by_layer": by_layer,
            "saturates": saturates,
            "own_file": own_file and os.path.abspath(own_file),
        }
        request.write_text(json.dumps(asked), encoding="utf-8")
        save_arrays(arrays, [*inputs.values(), *expected])
        run_module("ptq.export.onnx.apart", str(request), str(arrays), str(answer))
        found = json.loads(answer.read_text(encoding="utf-8"))
    for message in found["warnings"]:
        warn(message)
    kernels = tuple(Kernel(**kernel) for kernel in found["kernels"])
    return RuntimeReport(found["runtime"], float(found["sqnr_db"]), kernels, tuple(found["notes"]), found["mismatch"])


def _answer(request: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    names = request["inputs"]
    model = import_extra("onnx", "onnx").load(request["file"])
    simulated = Path(request["simulated"]) if request["simulated"] else None
    given = dict(zip(names, arrays, strict=False))
    runtime, file = OpenVino(request["own_file"]), request["own_file"] or request["file"]
    # what is halved is no longer in the file
    options = request["by_layer"], request["saturates"], OpenVino()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", QuantizationWarning)
        report = check_runtime(file, model, runtime, given, arrays[len(names) :], simulated, *options)
    told = [str(item.message) for item in caught if issubclass(item.category, QuantizationWarning)]
    return asdict(report) | {"sqnr_db": str(report.sqnr_db), "warnings": told}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(
        json.dumps(_answer(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), load_arrays(Path(sys.argv[2])))), encoding="utf-8"
    )
