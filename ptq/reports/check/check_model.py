"""The preflight check: by itself, and as the first thing that `quantize` does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError, NonFiniteError, QuantizationError, UnsupportedDtypeError

from ...calibration.batches import call_of
from ...calibration.observation import Call, free_batch, map_tensors
from ...util.messages import warn
from ...util.modes import eval_mode
from .calls import repeated_calls
from .dataflow import Forward, dataflow, dead_layers
from .example import Example
from .obstacles import obstacles, static_mode
from .report import CheckReport, Finding, listed, merged
from .structure import structure
from .unchanged import unchanged
from .weights import weights

__all__ = ["check", "refuse_or_warn", "require_dynamic_mode"]

ERRORS: dict[str, type[QuantizationError]] = {
    "prepared": AlreadyQuantizedError,
    "quantized": AlreadyQuantizedError,
    "non-finite-weight": NonFiniteError,
    "complex-weight": UnsupportedDtypeError,
}
# `attach_quantizers` warns of these once it is settled which layers are quantized; saving explains the last, which may be harmless.
SAID_LATER = ("own-forward", "recomputed-weight", "nothing-to-quantize", "unregistered-tensor")


def check(model: nn.Layer, input_spec_or_example: Any = None) -> CheckReport:
    """Looks for what would spoil or prevent the quantization of a model; the model is left as it was.

    Args:
        model: a model in dynamic mode.
        input_spec_or_example: arguments of ``forward``: a list or tuple of positional ones, a dict of those by name, or the only
            one; `InputSpec`s to have the model traced, tensors or arrays to have it traced and run in eval mode.  ``None``: only
            the layers and their weights are looked at.

    Returns:
        The findings, errors first.

    Raises:
        ModelError: ``model`` is not a layer.
        ConfigError: ``input_spec_or_example`` is nothing that arguments can be made of.
    """
    _require_layer(model)
    call = None if input_spec_or_example is None else _call(input_spec_or_example)
    findings = list(obstacles(model))
    if not findings:
        findings = [*structure(model), *weights(model)]
        if call is not None:
            findings += _run(model, call)
    return CheckReport(type(model).__name__, findings)


def refuse_or_warn(model: Any, *, will_be_in_eval_mode: bool) -> None:
    """The part of the check that needs no inputs: errors are raised, and warnings given that nobody else will give.

    Raises:
        ModelError: ``model`` is not a layer, or one that the engine cannot work with.
        AlreadyQuantizedError: it was prepared or converted before.
        NonFiniteError: a weight that is to be quantized holds NaN or Inf.
        UnsupportedDtypeError: such a weight is complex.
    """
    _require_layer(model)
    _raise_first(obstacles(model))
    findings = [*structure(model), *weights(model)]
    _raise_first(findings)
    _warn(findings, (*SAID_LATER, *(("train-mode", "dropout-active") if will_be_in_eval_mode else ())))


def require_dynamic_mode() -> None:
    """Raises `ModelError` while static mode is on."""
    _raise_first(static_mode())


def _require_layer(model: Any) -> None:
    if not isinstance(model, nn.Layer):
        raise ModelError(f"the model must be a paddle.nn.Layer, got {model!r}")
    try:
        model.sublayers()
    except RecursionError as error:
        raise ModelError(f"{type(model).__name__} holds itself as a sublayer: Paddle cannot walk through it; break the circle") from error


def _raise_first(findings: Iterable[Finding]) -> None:
    for finding, layers in merged(finding for finding in findings if finding.severity == "error"):
        raise ERRORS.get(finding.code, ModelError)(_sentence(finding, layers))


def _warn(findings: Iterable[Finding], unsaid: Collection[str]) -> None:
    for finding, layers in merged(finding for finding in findings if finding.severity == "warning" and finding.code not in unsaid):
        warn(_sentence(finding, layers))


def _sentence(finding: Finding, layers: list[str]) -> str:
    where = listed(layers)
    return f"{where}: {finding.message}; {finding.advice}" if where else f"{finding.message}; {finding.advice}"


def _call(value: Any) -> Call:
    if isinstance(value, InputSpec):
        value = [value]
    if not isinstance(value, (paddle.Tensor, np.ndarray, Mapping, tuple, list)):
        raise ConfigError(
            f"input_spec_or_example must be a tensor or InputSpec, a list of them, or a dict of them by argument, got {value!r}"
        )
    return call_of(value, None, "input_spec_or_example")


def _run(model: nn.Layer, call: Call) -> list[Finding]:
    """Runs an example, then traces the model; what does not run is not traced."""
    forward, example, graph = Forward(), None, None
    with unchanged(model), eval_mode(model):
        findings = []
        if not any(isinstance(item, InputSpec) for item in paddle.utils.flatten(call)):
            example = Example(model, *call, forward)
            findings = example.findings
        if example is None or example.has_run:
            args, kwargs = map_tensors(free_batch, call)
            graph, traced = dataflow(model, args, kwargs, forward)
            findings = [*findings, *traced]
        if forward.random:  # said where it happens
            findings = [finding for finding in findings if finding.code != "not-repeatable"]
    if graph is None and (example is None or not example.has_run):
        return findings
    ranges = None if example is None else example.ranges
    return [*findings, *dead_layers(model, forward.called), *repeated_calls(model, graph, ranges)]
