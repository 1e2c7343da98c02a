"""What `quantize_weights` and `quantize_dynamic` return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddle import nn

from ..quantize_model.report import QuantizeReport
from ..quantize_model.result import QuantizeResult
from ..reports.check import CheckReport
from ..reports.coverage import coverage

__all__ = ["WeightsResult", "result_of"]

WeightsResult = QuantizeResult
"""The same as what `quantize_model` returns: model, report and ``save``."""


def result_of(
    model: nn.Layer,
    source: str,
    what: str,
    findings: CheckReport,
    input_spec: Sequence[Any] | None,
    seconds: Mapping[str, float],
    batches: int = 0,
) -> WeightsResult:
    """The result, its coverage traced where it is known what the model takes."""
    report = QuantizeReport(source, what, findings, batches, batches, coverage(model, input_spec), dict(seconds))
    return QuantizeResult(model, report, input_spec)
