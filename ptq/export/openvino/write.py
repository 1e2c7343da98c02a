"""Writes OpenVINO's own files from an ONNX model, in a process of its own: ``python -m ptq.export.openvino.write SOURCE TARGET``.

OpenVINO and the engine that paddlepaddle bundles are libraries of one name, so they do not share a process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ...util.child import run_module
from ...util.extras import import_extra
from ..onnx.export import ONNX_SUFFIX
from ..onnx.write import write_onnx
from .sums import mark_sums

__all__ = ["OPENVINO_SUFFIXES", "simulated_beside", "source_of", "write_openvino"]

OPENVINO_SUFFIXES = (".openvino.xml", ".openvino.bin")


def simulated_beside(prefix: str) -> Path:
    """Where the simulated ONNX model lies while the files at a prefix are written and checked."""
    return Path(f"{prefix}.simulated{ONNX_SUFFIX}")


def source_of(prefix: str) -> Path:
    """The ONNX model that OpenVINO's files are made of: that of the format ``onnx`` where it was written before, else one of their own."""
    file = Path(prefix + ONNX_SUFFIX)
    return file if file.is_file() else Path(f"{prefix}.openvino{ONNX_SUFFIX}")


def write_openvino(prefix: str, names: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    """Writes ``prefix.openvino.xml`` and ``prefix.openvino.bin`` from the program at the prefix; what is float in it stays float32.

    Args:
        prefix: a converted model, saved by `paddle.jit.save`.
        names: see `parameter_names`.
        metadata: texts, for the ONNX model.

    Raises:
        ArtifactError: OpenVINO cannot read the model or write the files.
        ExportError: ONNX, or the converter, lacks an operation of the model.
        MissingExtraError: an extra is not installed, ``onnx`` or ``openvino``.
    """
    import_extra("openvino", "openvino")
    source = source_of(prefix)
    if not source.is_file():
        write_onnx(prefix, source, simulated_beside(prefix), names, metadata)
    run_module("ptq.export.openvino.write", *(os.path.abspath(path) for path in (source, prefix + OPENVINO_SUFFIXES[0])))


def _write(source: str, target: str) -> None:
    openvino = import_extra("openvino", "openvino")
    model = openvino.Core().read_model(source)
    mark_sums(model)
    openvino.save_model(model, target, compress_to_fp16=False)


if __name__ == "__main__":
    _write(*sys.argv[1:])
