"""Sees every layer call and every functional operation of one model's forward, in eager mode and while Paddle traces alike.

Forward hooks cannot see ``x + y`` or ``F.relu(x)``.  So while a forward runs, and only in its thread, a call of a layer or of an
operation in `OPERATIONS` is numbered and handed to whoever watches.  The name of a place (a site) is the path of the layer, such as
``layer1.0.conv2``, or of the layer around an operation with the operation's number in it, such as ``layer1.0.relu#0``; a second call of
the layer in one forward is ``layer1.0.conv2@1``.  Names are the same in every run of the same code.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from numbers import Number
from typing import Any, Protocol

import paddle
from paddle import _C_ops, nn

from ..registry import PTQRegistry
from ..util.modes import untraced

__all__ = ["OPERATIONS", "Watcher", "intercept"]

ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "prelu", "hardswish", "hardsigmoid", "sigmoid", "swish", "silu", "gelu", "tanh", "elu"),
    *("mish", "softplus", "softmax", "hardtanh", "clip"),
)
INTERPOLATIONS = ("nearest_interp", "bilinear_interp", "bicubic_interp", "linear_interp", "trilinear_interp")
CONVOLUTIONS = ("conv2d", "conv3d", "depthwise_conv2d", "conv2d_transpose", "conv3d_transpose", "depthwise_conv2d_transpose")
ARITHMETIC = (
    *("add", "subtract", "multiply", "divide", "scale", "pow", "maximum", "minimum", "matmul", "bmm", "concat", "stack"),
    *("abs", "square", "exp", "sqrt", "rsqrt"),
)
REDUCTIONS = ("pool2d", "pool3d", "mean")
NORMALIZATIONS = ("layer_norm", "group_norm", "instance_norm")
OPERATIONS = (*ARITHMETIC, *ACTIVATIONS, *INTERPOLATIONS, *CONVOLUTIONS, *REDUCTIONS, *NORMALIZATIONS)

# Operators of a tensor or traced value; in eager mode they never pass through `_C_ops`.
OPERATORS = {
    "__add__": "add",
    "__radd__": "add",
    "__sub__": "subtract",
    "__rsub__": "subtract",
    "__mul__": "multiply",
    "__rmul__": "multiply",
    "__truediv__": "divide",
    "__rtruediv__": "divide",
    "__pow__": "pow",
    "__matmul__": "matmul",
}
NUMERIC = {"add": "scale", "subtract": "scale", "multiply": "scale", "divide": "scale"}  # what Paddle makes of these with a number

_running = threading.local()
_lock = threading.Lock()
_users = 0
_originals: list[tuple[Any, str, Any]] = []


class Watcher(Protocol):
    """Whoever is told of what a forward does.  Each method returns what the model goes on with."""

    def operation(self, site: str, output: Any) -> Any:
        """A functional operation computed ``output``, a floating-point tensor or traced value."""

    def enter(self, site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """A registered layer is about to be called; ``site`` is this use of it.  Returns the arguments to go on with."""

    def layer(self, site: str, name: str, output: Any) -> Any:
        """The registered layer called ``name`` computed ``output``."""


@untraced
@contextlib.contextmanager
def intercept(model: nn.Layer, watcher: Watcher) -> Iterator[None]:
    """While entered, what ``model`` computes in this thread is told to ``watcher``.

    Entered again within, for a model inside this one, the inner watcher is told alone.
    """
    outer = getattr(_running, "run", None)
    with _patched():
        _running.run = _Run(model, watcher)
        try:
            yield
        finally:
            _running.run = outer


class _Run:
    """One forward: which layers it is inside of, and how often each has been called."""

    def __init__(self, model: nn.Layer, watcher: Watcher) -> None:
        self.names = {id(layer): name for name, layer in model.named_sublayers(include_self=True)}
        self.watcher = watcher
        self.calls: Counter[int] = Counter()
        self.scope = ""
        self.counts: Counter[str] = Counter()
        self.is_deaf = False

    def call_layer(self, layer: nn.Layer, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        name = self.names.get(id(layer))
        if self.is_deaf or name is None:
            return call(layer, *args, **kwargs)
        site = _numbered(name, self.calls[id(layer)])
        self.calls[id(layer)] += 1
        if not PTQRegistry.is_registered_layer(layer):
            with self._inside(site):
                return call(layer, *args, **kwargs)
        with self._deaf():
            args, kwargs = self.watcher.enter(site, layer, args, kwargs)
            return self.watcher.layer(site, name, call(layer, *args, **kwargs))

    def call_operation(self, operation: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.is_deaf:
            return call(*args, **kwargs)
        with self._deaf():
            output = call(*args, **kwargs)
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            if not _is_floating(first):
                return output
            number = self.counts[operation]
            self.counts[operation] += 1
            local = f"{operation}#{number}"
            result = self.watcher.operation(f"{self.scope}.{local}" if self.scope else local, first)
            return result if first is output else type(output)([result, *output[1:]])

    @contextlib.contextmanager
    def _inside(self, scope: str) -> Iterator[None]:
        outer, self.scope, self.counts = (self.scope, self.counts), scope, Counter()
        try:
            yield
        finally:
            self.scope, self.counts = outer

    @contextlib.contextmanager
    def _deaf(self) -> Iterator[None]:
        """A registered layer is one operation, whatever it is made of; and watchers compute too."""
        self.is_deaf = True
        try:
            yield
        finally:
            self.is_deaf = False


def _numbered(name: str, call: int) -> str:
    return f"{name}@{call}" if call else name


def _is_floating(value: Any) -> bool:
    return isinstance(value, (paddle.Tensor, paddle.pir.Value)) and value.dtype in (
        *(paddle.float32, paddle.float16, paddle.bfloat16, paddle.float64),
    )


@contextlib.contextmanager
def _patched() -> Iterator[None]:
    """Paddle's entry points lead through here while any thread intercepts; other threads pass straight on."""
    global _users
    with _lock:
        if _users == 0:
            _patch()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                while _originals:
                    owner, name, original = _originals.pop()
                    setattr(owner, name, original)


def _patch() -> None:
    for owner, name, wrap in _entry_points():
        original = vars(owner)[name]
        _originals.append((owner, name, original))
        setattr(owner, name, wrap(original))


@functools.cache
def _entry_points() -> tuple[tuple[Any, str, Callable[..., Any]], ...]:
    """Where Paddle's own code looks operations up: owner, attribute, and what wraps the original found there.

    Some of Paddle's modules bind an operation under a name of their own (``paddle.multiply``), so all of them are searched.
    """
    operations = {id(vars(_C_ops)[operation]): operation for operation in OPERATIONS if operation in vars(_C_ops)}
    operations[id(paddle.where)] = "where"  # while tracing, it is made of additions that eager mode does without
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "paddle"]
    found: dict[tuple[int, str], tuple[Any, str, Callable[..., Any]]] = {}
    for owner in (*modules, paddle.Tensor, paddle.pir.Value):
        for name, value in list(vars(owner).items()):
            if id(value) in operations:
                found[id(owner), name] = (owner, name, functools.partial(_operation, operations[id(value)]))
    for owner in (paddle.Tensor, paddle.pir.Value):
        for name, operation in OPERATORS.items():
            found[id(owner), name] = (owner, name, functools.partial(_operator, operation))
    return (*found.values(), (nn.Layer, "__call__", _layer_call))


def _operation(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @untraced
    def call(*args: Any, **kwargs: Any) -> Any:
        run = getattr(_running, "run", None)
        return original(*args, **kwargs) if run is None else run.call_operation(operation, original, args, kwargs)

    return call


def _operator(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @untraced
    def call(tensor: Any, other: Any) -> Any:
        run = getattr(_running, "run", None)
        if run is None:
            return original(tensor, other)
        name = NUMERIC.get(operation, operation) if isinstance(other, Number) else operation
        return run.call_operation(name, original, (tensor, other), {})

    return call


def _layer_call(original: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(layer: nn.Layer, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - takes the place of Paddle's own
        run = getattr(_running, "run", None)
        return original(layer, *args, **kwargs) if run is None else run.call_layer(layer, original, args, kwargs)

    return __call__
