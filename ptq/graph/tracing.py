"""Turns a model into its dataflow graph: Paddle traces it, and every layer call and functional operation is matched to the program."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import TraceError

from ..registry import PTQRegistry
from ..util.messages import last_line
from ..util.modes import eval_mode, untraced
from ..util.nests import leaves, map_nest
from ..util.paddle_private import Value
from ..util.tracer import TRACER
from .dataflow import CallSite, Graph, Op
from .interception import intercept
from .markers import without_markers
from .operators import Moves, operator_of

__all__ = ["trace"]

# Activations of nn.BatchNorm(act=...) that need an argument which Paddle's tracer does not give: it reads past the end and crashes.
FATAL_ACTIVATIONS = ("elu", "leaky_relu")


class _Traced(nn.Layer):  # type: ignore[misc]
    """Gives the tracer a ``forward`` of known signature and leaves the user's model untouched."""

    def __init__(self, model: nn.Layer) -> None:
        super().__init__()
        self.model = model

    def forward(self, args: Any, kwargs: Any) -> Any:
        return self.model(*args, **kwargs)


@dataclass
class _Call:
    layer: str
    inputs: list[Any]
    outputs: list[Any]
    site: str
    results: list[Any]


class _Recorder:
    """Notes the program's values at every site; those within a layer, before the user's own hooks change them, by a hook."""

    def __init__(self) -> None:
        self.operations: list[tuple[str, Any]] = []
        self.calls: list[_Call] = []
        self.scopes: list[tuple[str, str | None, str | None]] = []
        self._within: tuple[list[Any], list[Any]] = ([], [])

    @contextlib.contextmanager
    def hooks(self, model: nn.Layer) -> Iterator[None]:
        """While entered, notes what enters and leaves the ``forward`` of leaf layers, and where other layers begin and end."""
        handles = []
        try:
            for name, layer in model.named_sublayers(include_self=True):
                if PTQRegistry.is_registered_layer(layer):
                    handles.append(layer.register_forward_post_hook(self._note, prepend=True, with_kwargs=True))
                elif name:
                    begin, end = self._scope_hooks(name)
                    handles += [layer.register_forward_pre_hook(begin, prepend=True), layer.register_forward_post_hook(end)]
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note(self, _layer: nn.Layer, args: Any, kwargs: Any, output: Any) -> None:
        self._within = _values((args, kwargs)), _values(output)

    def _scope_hooks(self, name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        """Hooks that note, for every call of one layer, the last values that were computed before it and within it."""
        starts: list[str | None] = []
        calls = Counter[str]()

        @untraced
        def begin(*_: Any) -> None:
            starts.append(_last_value())

        @untraced
        def end(*_: Any) -> None:
            place = f"{name}@{calls[name]}" if calls[name] else name
            self.scopes.append((place, starts.pop(), _last_value()))
            calls[name] += 1

        return begin, end

    def operation(self, site: str, output: Any, _args: Any) -> Any:
        self.operations.append((site, output))
        return output

    def enter(self, _site: str, _layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        return args, kwargs

    def layer(self, site: str, name: str, output: Any, _args: Any) -> Any:
        self.calls.append(_Call(name, *self._within, site, _values(output)))
        return output


def trace(model: nn.Layer, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Graph:
    """Traces the model in eval mode and returns its dataflow; the model is left as it was.  Other threads wait.

    Args:
        model: the model, in dynamic mode.
        args, kwargs: what ``forward`` is called with, `InputSpec`s in place of tensors.

    Raises:
        TraceError: Paddle cannot turn the model into a program.
    """
    fatal = [name for name, layer in model.named_sublayers() if isinstance(layer, nn.BatchNorm) and layer._act in FATAL_ACTIVATIONS]
    if fatal:
        raise TraceError(
            f"{', '.join(fatal)}: Paddle's tracer ends the process on a batch norm with act={' or '.join(FATAL_ACTIVATIONS)!r}"
        )
    model = without_markers(model)
    recorder = _Recorder()
    with TRACER, eval_mode(model), recorder.hooks(model), intercept(model, recorder):
        traced = _Traced(model)  # the static function holds it weakly: keep it alive while the program is built
        try:
            function = paddle.jit.to_static(traced.forward, input_spec=[list(args), dict(kwargs or {})], full_graph=True)
            program = function.concrete_program
        except Exception as error:  # tracing runs the user's code: anything may come out of it
            raise TraceError(
                f"{type(model).__name__} cannot be traced into a program ({type(error).__name__}: {last_line(error)}); "
                "calibration works without a trace, automatic fusing does not"
            ) from error
    return _build(program, recorder, _in_order_of_parameters(model, args, kwargs or {}, _values(program.inputs)))


def _in_order_of_parameters(model: nn.Layer, args: Sequence[Any], kwargs: Mapping[str, Any], values: list[Any]) -> list[Any]:
    """The program's inputs, which Paddle sorts by the names they were passed by, as the parameters of ``forward`` are ordered."""
    numbers = count()
    numbered = map_nest(lambda leaf: next(numbers) if isinstance(leaf, (InputSpec, paddle.Tensor)) else None, (list(args), dict(kwargs)))
    bound = inspect.signature(model.forward).bind(*numbered[0], **numbered[1])
    order = [number for value in bound.arguments.values() for number in leaves(value) if number is not None]
    return [values[number] for number in order] if len(order) == len(values) else values


def _last_value() -> str | None:
    """The id of what the program that is being traced computed last."""
    ops = paddle.static.default_main_program().global_block().ops
    return next((str(op.results()[-1].id) for op in reversed(ops) if op.results()), None)


def _values(nest: Any) -> list[Any]:
    return [item for item in leaves(nest) if isinstance(item, Value)]


def _build(program: Any, recorder: _Recorder, inputs: list[Any]) -> Graph:
    numbers: dict[int, int] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    floating: set[int] = set()

    def number(value: Any) -> int:
        key = numbers.setdefault(value.id, len(numbers))
        if key not in shapes and value.is_dense_tensor_type():
            shapes[key] = tuple(value.shape)
            if value.dtype in (paddle.float32, paddle.float16, paddle.bfloat16, paddle.float64):
                floating.add(key)
        return key

    walked = list(_walk(program.main_program.global_block()))
    scopes = _scopes(walked, recorder)
    ops = [
        Op(
            op.name(),
            tuple(number(v) for v in op.operands_source() if v is not None and v.initialized()),
            tuple(number(v) for v in op.results()),
            _constant(op),
            _moves(op),
            _saturates(op),
            any(True for _ in op.blocks()),
            op.attrs()["parameter_name"] if op.name() == "builtin.parameter" else "",
            op.attrs()["equation"] if op.name() == "pd_op.einsum" else "",
            scope,
        )
        for op, scope in zip(walked, scopes, strict=True)
    ]

    def numbers_of(values: list[Any]) -> tuple[int, ...]:
        return tuple(map(number, values))

    sites = [
        CallSite(call.layer, numbers_of(call.inputs), numbers_of(call.outputs), call.site, numbers_of(call.results))
        for call in recorder.calls
    ]
    return Graph(
        ops,
        sites,
        outputs=tuple(number(value) for value in _values(program.outputs)),
        ranks={value: len(shape) for value, shape in shapes.items()},
        inputs=tuple(number(value) for value in inputs),
        operations={site: number(value) for site, value in recorder.operations},
        floating=floating,
        shapes=shapes,
    )


def _scopes(ops: Sequence[Any], recorder: _Recorder) -> list[str]:
    """For every operation, the place of the innermost layer that was being called when it was added to the program."""
    position = {str(value.id): index for index, op in enumerate(ops) for value in op.results()}
    scopes: list[str | None] = [None] * len(ops)
    for scope, start, end in recorder.scopes:  # inner calls end before outer ones
        first = position.get(start, -1) + 1 if start is not None else 0
        for index in range(first, position.get(end, -1) + 1 if end is not None else 0):
            scopes[index] = scope if scopes[index] is None else scopes[index]
    return [scope or "" for scope in scopes]


def _constant(op: Any) -> float | None:
    if op.name() == "pd_op.full":
        return float(op.attrs()["value"])
    if op.name() == "pd_op.pad3d" and op.attrs()["mode"] == "constant":
        return float(op.attrs()["pad_value"])
    return None


def _moves(op: Any) -> bool:
    moves = operator_of(op.name()).moves
    if moves is Moves.WITH_ZEROS:
        return _filling(op) == 0.0
    if moves is Moves.BY_MAXIMUM:
        return bool(op.attrs()["pooling_type"] == "max")
    if moves is Moves.WHEN_OFF:
        return bool(op.attrs()["is_test"] and op.attrs()["mode"] == "upscale_in_train")
    return moves is Moves.ALWAYS


def _filling(op: Any) -> float | None:
    """What an operation puts around its input: zeros, too, where it repeats the input's own elements; ``None`` where that is not known."""
    if op.name() != "pd_op.pad":
        return _constant(op) or 0.0
    filling = op.operands_source()[1].get_defining_op()  # the number is an operand
    return _constant(filling) if filling.name() == "pd_op.full" else None


def _saturates(op: Any) -> tuple[float, float] | None:
    bounds = operator_of(op.name()).saturates
    return None if bounds is None else bounds(op.attrs())


def _walk(block: Any) -> Iterator[Any]:
    for op in block.ops:
        yield op
        for inner in op.blocks():
            yield from _walk(inner)
