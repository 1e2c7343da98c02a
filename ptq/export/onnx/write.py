"""Writes a saved simulated model as an ONNX file with int8 weights, int32 biases, QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from paddle import nn

from quantizers.errors import ExportError

from ...util.extras import import_extra
from ...util.messages import last_line
from .convert import convert
from .rewrite import rewrite

__all__ = ["parameter_names", "write_onnx"]


def parameter_names(model: nn.Layer) -> dict[str, str]:
    """The paths of the model's parameters and buffers by the names that a saved program has for them."""
    return {tensor.name: path for path, tensor in model.state_dict().items()}


def write_onnx(
    prefix: str | os.PathLike[str],
    target: Path,
    simulated: Path,
    names: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes ``target``, an int8 ONNX model, from the program ``prefix.json`` and its parameters ``prefix.pdiparams``.

    Args:
        prefix: a converted model, saved by `paddle.jit.save`.
        target: the file to write.
        simulated: where to leave the model as it was converted, quantization in plain float operations; `check_onnx` compares with it.
        names: see `parameter_names`; layers and grids in the file are called after the Paddle layers then.
        metadata: texts to keep in the file, in its ``metadata_props``.

    Raises:
        ExportError: ONNX, or the converter, lacks an operation of the model.
        MissingExtraError: the extra ``onnx`` is not installed.
    """
    onnx = import_extra("onnx", "onnx")
    convert(prefix, simulated)
    model = rewrite(onnx.load(str(simulated)), names or {})
    onnx.helper.set_model_props(model, {**{item.key: item.value for item in model.metadata_props}, **(metadata or {})})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{target}: the rewritten ONNX model is not valid ({last_line(error)}); please report the model") from error
    target.write_bytes(model.SerializeToString())
