"""Converts a saved Paddle program to ONNX with paddle2onnx, in a process of its own: on an operation that it does not know it aborts.

Run as ``python -m ptq.export.onnx.convert PROGRAM PARAMETERS TARGET``.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from quantizers.errors import ExportError

from ...util.child import start_module
from ...util.extras import import_extra
from .adaptive import repair_adaptive_pools
from .int16 import narrow, widen

__all__ = ["OPSET", "convert"]

# Recent enough for HardSwish and LayerNormalization, old enough for every runtime of the last years.
OPSET = 17


def convert(prefix: str | os.PathLike[str], target: Path) -> None:
    """Writes the program ``prefix.json`` with its parameters ``prefix.pdiparams`` as the ONNX file ``target``.

    Raises:
        ExportError: paddle2onnx cannot express the program; the message names what it says.
        MissingExtraError: paddle2onnx is not installed.
    """
    import_extra("paddle2onnx", "onnx")
    source = os.fspath(prefix)
    with tempfile.TemporaryDirectory(prefix="ptq-onnx-") as folder:
        text, parameters, is_widened = widen(Path(f"{source}.json").read_text(encoding="utf-8"), Path(f"{source}.pdiparams").read_bytes())
        program = _readable(json.loads(text))
        Path(folder, "model.json").write_text(json.dumps(program), encoding="utf-8")
        Path(folder, "model.pdiparams").write_bytes(parameters)
        files = [str(Path(folder, "model.json")), str(Path(folder, "model.pdiparams")), os.path.abspath(target)]
        process = start_module("ptq.export.onnx.convert", *files)
        if process.returncode or not target.is_file():
            reason = _reason(process.stdout + process.stderr, program)
            raise ExportError(f"paddle2onnx cannot convert {source}.json: {reason}; save it in a Paddle format instead")
        onnx = import_extra("onnx", "onnx")
        model = onnx.load(str(target))
        repair_adaptive_pools(program, model)
        if is_widened:
            narrow(model)
        onnx.save(model, str(target))


def _readable(node: Any) -> Any:
    """The program with the scales of interpolations as float32: paddle2onnx reads no other, and Paddle writes float64."""
    if isinstance(node, list):
        return [_readable(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("N") == "scale" and node.get("AT", {}).get("#") == "0.a_array":
        numbers = [{**item, "#": "0.a_f32"} if item.get("#") == "0.a_f64" else item for item in node["AT"]["D"]]
        return {**node, "AT": {**node["AT"], "D": numbers}}
    return {key: _readable(value) for key, value in node.items()}


def _reason(log: str, program: Any) -> str:
    """What went wrong, from the converter's log and the program: the converter does not name the operations that it lacks."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", log).splitlines() if line.strip()]
    if any("unsupported operators" in line for line in lines):
        unknown = ", ".join(_unknown_operations(program)) or "it does not say which"
        return f"it lacks operations of the model ({unknown})"
    telling = [line for line in lines if re.search(r"\[ERROR\]|Failed to convert|Error:", line)]
    return (telling or lines or ["it ended without a word"])[0][:300]


def _unknown_operations(program: Any) -> list[str]:
    """Operations that the converter's library never mentions."""
    library = Path(import_extra("paddle2onnx.paddle2onnx_cpp2py_export", "onnx").__file__).read_bytes()
    block = program["program"]["regions"][0]["blocks"][0]["ops"]
    names = {op["#"].partition(".")[2] for op in block if op["#"].startswith("1.")}
    return sorted(name for name in names if name.encode() not in library)


def main(program: str, parameters: str, target: str) -> None:
    """The work of the process."""
    # its default optimizer would install packages while it runs
    import_extra("paddle2onnx", "onnx").export(program, parameters, target, opset_version=OPSET, optimize_tool="None")


if __name__ == "__main__":
    main(*sys.argv[1:])
