"""`coverage`: traces a model and writes its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import ModelError, TraceError

from ...calibration.state import state_of
from ...graph.dataflow import Graph
from ...graph.tracing import trace
from ...layers.gridded import ungridded, ungridded_class
from ...placement.plan import Plan
from ...placement.targets import TARGETS
from ...registry import PTQRegistry
from ...util.messages import last_line
from ...util.nests import leaves, map_nest
from ...util.tracer import TRACER
from .facts import Facts
from .macs import macs_of
from .parameters import Parameters
from .record import FLOAT, INT8, OBSERVED, Ledger, Row
from .states import Judge
from .work import works_of

__all__ = ["call_to_trace", "coverage"]


def coverage(model: nn.Layer, input_spec: Sequence[Any] | None = None) -> Ledger:
    """What became of every operation of a model, functional ones included, and why; the model is left as it was.

    Fake quantization is no operation of its own: it belongs to what it serves.  A model that is still being calibrated gets a
    forecast.  A model that cannot be traced gets a ledger of its layers that says so: the ledger is a report and stops nobody.

    Args:
        model: what `ImperativePTQ.convert` or `ImperativePTQ.quantize` returned.
        input_spec: `InputSpec`s or example tensors of ``forward``'s arguments; by default the first calibration batch.  Where only a
            first size is free, it is taken as 1; other free sizes count as 1 in multiply-accumulates.

    Raises:
        ModelError: ``model`` is not a layer, or static mode is on.
    """
    if not isinstance(model, nn.Layer):
        raise ModelError(f"coverage needs a paddle.nn.Layer, got {model!r}")
    if not paddle.in_dynamic_mode():
        raise ModelError("static mode is on: call paddle.disable_static() before asking for the coverage of a dygraph model")
    facts = Facts(model)
    try:
        args, kwargs = call_to_trace(model, input_spec)
        with TRACER:
            graph = trace(ungridded(model), args, kwargs)
        inputs = tuple(_described(spec) for spec in leaves((args, kwargs)) if isinstance(spec, InputSpec))
        return Ledger(_name(model), facts.converted, inputs, _rows(graph, facts))
    except Exception as error:  # a report must not fail the save that it belongs to, whatever is odd about the model
        reason = str(error) if isinstance(error, TraceError) else f"{type(error).__name__}: {last_line(error)}"
        return Ledger(_name(model), facts.converted, (), _rows_of_layers(facts), reason)


def _rows(graph: Graph, facts: Facts) -> tuple[Row, ...]:
    compute = [name for name in facts.layers if facts.has_weight(name)]
    plan = Plan(graph, compute, TARGETS[facts.target])
    works = works_of(graph, plan)
    judge, parameters = Judge(graph, plan, facts, works), Parameters(facts)
    rows = []
    for work in works:
        state, reason = judge(work)
        op = "identity" if work.core is None else work.core.plain_name
        stored, as_float = parameters.take(op.parameter for op in work.ops if op.parameter)
        macs = sum(macs_of(op, graph) for op in work.ops)
        rows.append(Row(work.name, op, state, reason, macs, stored, as_float, *facts.channel_factors(work.name)))
    return (*rows, *parameters.unread())


def _rows_of_layers(facts: Facts) -> tuple[Row, ...]:
    """The rows of a model without a trace."""
    parameters = Parameters(facts)
    rows = []
    for name, layer in facts.layers.items():
        if not PTQRegistry.is_registered_layer(layer):
            continue
        state, reason = (OBSERVED, "") if facts.is_observed(name) else (FLOAT, "without a trace it is not known what it computes")
        if facts.has_weight(name):
            reason = facts.why_float(name) if facts.weight_bits(name) is None else facts.why_float_input(name)
            state = FLOAT if reason else INT8
        stored, as_float = parameters.take(tensor.name for _, tensor in (*layer.named_parameters(), *layer.named_buffers()))
        rows.append(Row(name, PTQRegistry.layer_info(layer).layer.__name__, state, reason, 0, stored, as_float))
    return (*rows, *parameters.unread())


def call_to_trace(model: nn.Layer, input_spec: Sequence[Any] | None) -> tuple[Any, Any]:
    """The arguments to trace with, their sizes known where possible."""
    if input_spec is not None:
        listed = [input_spec] if isinstance(input_spec, (InputSpec, paddle.Tensor)) else list(input_spec)
        return map_nest(_sized, listed), {}
    state = state_of(model)
    spec = None if state is None else state.seen.first_spec or state.seen.input_spec
    if spec is None:
        raise TraceError("the model saw no calibration batch that would tell its input shapes; pass input_spec")
    return map_nest(_sized, spec[0]), map_nest(_sized, spec[1])


def _sized(spec: Any) -> Any:
    """A leaf of the arguments, a first size that is free taken as 1."""
    if isinstance(spec, paddle.Tensor):
        return InputSpec(list(spec.shape), spec.dtype)
    if isinstance(spec, InputSpec):
        return InputSpec([1 if axis == 0 and size in (None, -1) else size for axis, size in enumerate(spec.shape)], spec.dtype)
    return spec


def _described(spec: InputSpec) -> str:
    return f"{str(spec.dtype).split('.')[-1]}[{', '.join('?' if size in (None, -1) else str(size) for size in spec.shape)}]"


def _name(model: nn.Layer) -> str:
    return ungridded_class(model).__name__
