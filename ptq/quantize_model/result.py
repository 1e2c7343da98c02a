"""What `quantize_model` returns: the quantized model, its report, and how it is saved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paddle import nn

from ..imperative import ImperativePTQ
from .report import QuantizeReport

__all__ = ["QuantizeResult"]


@dataclass(frozen=True)
class QuantizeResult:
    """A quantized model with its history.

    Attributes:
        model: the converted model, an ordinary layer in eval mode.
        report: what was done and what came out.
        input_spec: what the model is saved with unless `save` is told otherwise: that of `quantize_model`, that of the saved program, or
            ``None`` for the shapes that calibration saw, first dimension free.
    """

    model: nn.Layer
    report: QuantizeReport
    input_spec: Sequence[Any] | None = None

    def save(
        self,
        prefix: str | os.PathLike[str],
        formats: Sequence[str] = ("jit",),
        *,
        metadata: Mapping[str, str | Sequence[str]] | None = None,
        float_baseline: bool = False,
        input_spec: Sequence[Any] | None = None,
        verbose: bool = True,
        on_mismatch: str = "raise",
        **config: Any,
    ) -> None:
        """Saves the model, checked in a fresh process, as `ImperativePTQ.save_quantized_model` does.

        Args:
            prefix: of the files, such as ``"int8/model"``.
            formats: out of ``"jit"``, ``"onnx"``, ``"openvino"`` and ``"inference"``.
            metadata: texts, or lists of texts that become lines, to keep in the ONNX file by name, as in
                ``{"character": ["a", "b"]}``, which OCR clients look for.
            float_baseline: also save the float model, under the name with ``float_`` before it.
            input_spec: what the model takes, where ``self.input_spec`` is not what is wanted.
            verbose: print the report of what was saved.
            on_mismatch: ``"raise"``, or ``"keep"`` a format whose check failed, with a warning.
            **config: options of `paddle.jit.save`.

        Raises:
            As `ImperativePTQ.save_quantized_model`; ``ConfigError`` for metadata that no format keeps.
        """
        ImperativePTQ().save_quantized_model(
            self.model,
            os.fspath(prefix),
            self.input_spec if input_spec is None else input_spec,
            formats=formats,
            metadata=metadata,
            float_baseline=float_baseline,
            verbose=verbose,
            on_mismatch=on_mismatch,
            **config,
        )
