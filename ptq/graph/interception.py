"""Sees every layer call and every functional operation of one model's forward, in eager mode and while Paddle traces alike.

Forward hooks cannot see ``x + y`` or ``F.relu(x)``.  So while a forward runs, and only in its thread, a call of a layer or of an
operation in `OPERATIONS` is numbered and handed to whoever watches.  The name of a place (a site) is the path of the layer, such as
``layer1.0.conv2``, or of the layer around an operation with the operation's number in it, such as ``layer1.0.relu#0``; a second call of
the layer in one forward is ``layer1.0.conv2@1``.  Names are the same in every run of the same code.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from numbers import Number
from typing import Any, Protocol

import paddle
from paddle import nn

from ..registry import PTQRegistry
from ..util.modes import untraced
from ..util.paddle_private import C_OPS, Value
from .bindings import Modules, bindings_of_model
from .operators import OPERATORS, names_of

__all__ = ["OPERATIONS", "Watcher", "intercept"]

OPERATIONS = names_of(lambda operator: operator.is_seen)
# Operators of a tensor or traced value; in eager mode they never pass through `C_OPS`.
SYMBOLS = {symbol: name for name, operator in OPERATORS.items() for symbol in operator.symbols}

_running = threading.local()
_lock = threading.Lock()
_users = 0
_originals: list[Callable[[], None]] = []  # each puts one entry point back


class Watcher(Protocol):
    """Whoever is told of what a forward does.  Each method returns what the model goes on with."""

    def operation(self, site: str, output: Any, args: Any) -> Any:
        """A functional operation, called with ``args``, computed ``output``, a floating-point tensor or traced value."""

    def enter(self, site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """A registered layer is about to be called; ``site`` is this use of it.  Returns the arguments to go on with."""

    def layer(self, site: str, name: str, output: Any, args: Any) -> Any:
        """The registered layer called ``name``, called with ``args``, computed ``output``."""


@untraced
@contextlib.contextmanager
def intercept(model: nn.Layer, watcher: Watcher) -> Iterator[None]:
    """While entered, what ``model`` computes in this thread is told to ``watcher``.

    Entered again within, for a model inside this one, the inner watcher is told alone.
    """
    outer = getattr(_running, "run", None)
    with _patched(model):
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
            return self.watcher.layer(site, name, call(layer, *args, **kwargs), args)

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
            result = self.watcher.operation(f"{self.scope}.{local}" if self.scope else local, first, args)
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
    return isinstance(value, (paddle.Tensor, Value)) and value.dtype in (
        *(paddle.float32, paddle.float16, paddle.bfloat16, paddle.float64),
    )


@contextlib.contextmanager
def _patched(model: nn.Layer) -> Iterator[None]:
    """Paddle's entry points lead through here while any thread intercepts; other threads pass straight on."""
    global _users
    with _lock:
        try:
            _patch(model)
        except BaseException:
            _take_back()
            raise
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            _take_back()


def _patch(model: nn.Layer) -> None:
    if _users == 0:
        for owner, name, wrap in _entry_points():
            original = vars(owner)[name]
            setattr(owner, name, wrap(original))
            _originals.append(functools.partial(setattr, owner, name, original))
    operations = _operations()
    own, is_new = bindings_of_model(model, operations)
    for binding in (*_modules().bindings(is_new), *own):
        if binding.is_held():
            binding.put(_operation(operations[id(binding.function)], binding.function))
            _originals.append(functools.partial(binding.put, binding.function))


def _take_back() -> None:
    while _users == 0 and _originals:
        _originals.pop()()


@functools.cache
def _operations() -> Mapping[int, str]:
    """The functions that compute an operation, by their ids, with the operation's name."""
    functions = {id(vars(C_OPS)[operation]): operation for operation in OPERATIONS if operation in vars(C_OPS)}
    return {**functions, id(paddle.where): "where"}  # while tracing, it is made of additions that eager mode does without


@functools.cache
def _modules() -> Modules:
    """All modules: some of Paddle's, and users', bind an operation under a name of their own (``paddle.multiply``)."""
    return Modules(_operations())


@functools.cache
def _entry_points() -> tuple[tuple[Any, str, Callable[..., Any]], ...]:
    """Where Paddle's own classes look operations up: owner, attribute, and what wraps the original found there."""
    found: dict[tuple[int, str], tuple[Any, str, Callable[..., Any]]] = {}
    for owner in (paddle.Tensor, Value):
        for name, value in list(vars(owner).items()):
            if id(value) in _operations():
                found[id(owner), name] = (owner, name, functools.partial(_operation, _operations()[id(value)]))
        for name, operation in SYMBOLS.items():
            found[id(owner), name] = (owner, name, functools.partial(_operator, operation))
    return (*found.values(), (nn.Layer, "__call__", _layer_call))


@functools.cache  # made once, and not in every forward
def _operation(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @untraced
    def call(*args: Any, **kwargs: Any) -> Any:
        run = getattr(_running, "run", None)
        return original(*args, **kwargs) if run is None else run.call_operation(operation, original, args, kwargs)

    return call


@functools.cache
def _operator(operation: str, original: Callable[..., Any]) -> Callable[..., Any]:
    with_number = OPERATORS[operation].with_number or operation

    @untraced
    def call(tensor: Any, other: Any) -> Any:
        run = getattr(_running, "run", None)
        if run is None:
            return original(tensor, other)
        name = with_number if isinstance(other, Number) else operation
        return run.call_operation(name, original, (tensor, other), {})

    return call


@functools.cache
def _layer_call(original: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(layer: nn.Layer, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - takes the place of Paddle's own
        run = getattr(_running, "run", None)
        return original(layer, *args, **kwargs) if run is None else run.call_layer(layer, original, args, kwargs)

    return __call__
