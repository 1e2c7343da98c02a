"""The public way to Paddle Inference's int8 files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from paddle import nn

from ..save import SaveReport, save_artifact

__all__ = ["export_inference"]


def export_inference(model: nn.Layer, path: str | os.PathLike[str], input_spec: Sequence[Any] | None = None) -> SaveReport:
    """Writes a converted model for Paddle Inference, whose bundled OpenVINO engine executes it in int8, and checks it there.

    The files are ``path.infer.pdmodel`` and ``path.infer.pdiparams``; the portable ones that they are made from and the manifest
    are written beside them. An older artifact at ``path`` is replaced, in all its formats, only by one that passed the check.
    `create_int8_predictor` opens it; other settings of `paddle.inference` answer NaN rather than wrongly.

    Args:
        model: what `ImperativePTQ.convert` returned. With placement ``compute`` results of layers are stored in float between them.
        path: the prefix of the files.
        input_spec: shapes and dtypes of the inputs, as for `save_quantized_model`; by default those of the calibration batches.

    Returns:
        What was written; ``runtimes`` holds how close the runtime's answers are, and which layers it runs in int8.

    Raises:
        ArtifactError: the files cannot be written.
        ExportError: the engine lacks an operation of the model.
        MismatchError: the runtime computes something else than the model.
    """
    return save_artifact(model, os.fspath(path) if isinstance(path, os.PathLike) else path, input_spec, formats=("jit", "inference"))
