"""The int8 ONNX file of a converted model, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ArtifactError, ConfigError

from ...util.modes import eval_mode
from ..call import answer_of, call_of, tensors_of
from ..jit.program import write_jit
from ..report import RuntimeReport
from .check import check_onnx
from .write import parameter_names, write_onnx

__all__ = ["ONNX_SUFFIX", "OnnxReport", "export_onnx"]

ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True)
class OnnxReport:
    """What was written: the file, its bytes, and what each runtime made of it."""

    path: str
    bytes: int
    runtimes: tuple[RuntimeReport, ...]

    def lines(self) -> list[str]:
        """The report for people."""
        return [f"{self.path}: {self.bytes} bytes", *(line for runtime in self.runtimes for line in runtime.lines())]


def export_onnx(model: nn.Layer, path: str | os.PathLike[str], input_spec: Sequence[Any] | None = None) -> OnnxReport:
    """Writes a converted model as an ONNX file that ONNX Runtime and OpenVINO execute in int8, and checks it with them.

    Args:
        model: what `ImperativePTQ.convert` returned.  With placement ``compute`` its convolutions have no grid behind them, and
            ONNX Runtime computes such in float; the report names them.
        path: the file; ``.onnx`` is added where it is missing.  An older file is replaced only by one that passed the check.
        input_spec: shapes and dtypes of the inputs, as for `save_quantized_model`; by default those of the calibration batches.

    Raises:
        ArtifactError: the file cannot be written.
        ExportError: ONNX, or the converter, lacks an operation of the model.
        MismatchError: a runtime computes something else than the model.
        MissingExtraError: the extra ``onnx`` is not installed.
    """
    target = _target(path)
    spec, arguments = call_of(model, input_spec)
    with eval_mode(model), paddle.no_grad():
        expected = [tensor.numpy() for tensor in answer_of(model, arguments)]
        inputs = [tensor.numpy() for tensor in tensors_of(arguments)]
        try:
            with tempfile.TemporaryDirectory(prefix=f".{target.stem}.", dir=target.parent) as folder:
                prefix, simulated, written = os.path.join(folder, "model"), Path(folder, "simulated.onnx"), Path(folder, target.name)
                write_jit(model, prefix, spec)
                write_onnx(prefix, written, simulated, parameter_names(model))
                reports = check_onnx(written, inputs, expected, simulated)
                size = written.stat().st_size
                os.replace(written, target)
        except OSError as error:
            raise ArtifactError(f"{target}: the model cannot be written: {error}") from error
    return OnnxReport(str(target), size, tuple(reports))


def _target(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ConfigError(f"path must be a file such as 'int8/model.onnx', got {path!r}")
    if os.path.basename(os.fspath(path)) in ("", ".", ".."):
        raise ArtifactError(f"{os.fspath(path)!r} names a folder; pass a file such as 'int8/model.onnx'")
    text = os.path.abspath(os.fspath(path))
    target = Path(text if text.endswith(ONNX_SUFFIX) else text + ONNX_SUFFIX)
    if "\0" in text:
        raise ArtifactError(f"{text!r} cannot be written: embedded null byte")
    if os.path.isdir(target):
        raise ArtifactError(f"{target} is a folder; remove it or choose another path")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{target}: its folder cannot be made: {error}") from error
    return target
