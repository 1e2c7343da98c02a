"""Twins of users' own subclasses of supported layers: made when first needed, for nobody can write them in advance."""

from __future__ import annotations

import inspect
from types import FunctionType, MethodType
from typing import Any

from ..registry import input_argument

__all__ = ["handwritten", "new_twin"]

_made: dict[tuple[type, type], type] = {}


def new_twin(twin_class: Any, float_class: type) -> Any:
    """An empty instance of ``twin_class`` that is also an instance of ``float_class``.

    A user's subclass of a supported layer keeps its own methods and attributes: its twin derives from both.
    """
    if not issubclass(twin_class, float_class):
        key = (twin_class, float_class)
        if key not in _made:
            _made[key] = _make(twin_class, float_class)
        twin_class = _made[key]
    return twin_class.__new__(twin_class)


def handwritten(twin_class: type) -> type:
    """The written class that a made one derives from, or the class itself: what a pickle can name."""
    return next((base for base, _ in (key for key, made in _made.items() if made is twin_class)), twin_class)


def _make(twin_class: Any, float_class: Any) -> type:
    namespace = {"float_class": float_class, "__module__": twin_class.__module__}
    if float_class.forward is not twin_class.float_class.forward:
        # a function of its own for every class: when the twin is the whole model, Paddle reads the names of the inputs from it
        forward = FunctionType(_OwnForward.forward.__code__, globals(), "forward")
        forward.__signature__ = _signature(float_class)  # type: ignore[attr-defined]
        namespace |= {"forward": forward, "_view_class": _view_class(twin_class, float_class)}
    return type(f"Quantized{float_class.__name__}", (twin_class, float_class), namespace)


class _OwnForward:
    """Holds the ``forward`` of made twins under the name that Paddle's tracer looks for in the source."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The user's ``forward`` on the fake-quantized first argument, bound to a view of the twin."""
        view = self._view_class.__new__(self._view_class)
        object.__setattr__(view, "__dict__", self.__dict__)
        # not view.forward: while it traces a model, Paddle keeps the twin's own forward among its attributes
        forward = MethodType(self.float_class.forward, view)
        if args:
            return forward(self.quantize_input(args[0]), *args[1:], **kwargs)
        name = input_argument(self.float_class)
        return forward(**{**kwargs, name: self.quantize_input(kwargs[name])})


def _view_class(twin_class: Any, float_class: type) -> type:
    """A class that sees a twin's attributes as a layer of the user's class, with the dequantized weight.

    Called on the twin itself, a user's ``forward`` could not be traced: Paddle turns ``super()`` into ``super(self.__class__, self)``,
    which would lead back to the twin.  So the view says that its class is the one that defines ``forward``.
    """
    defining = next(base for base in float_class.__mro__ if "forward" in vars(base))
    weights = {name: getattr(twin_class, name) for name in twin_class.read_from_integers}
    return type(float_class.__name__, (float_class,), {**weights, "__class__": property(lambda _: defining)})


def _signature(float_class: type) -> inspect.Signature:
    """The signature of the class's ``forward``, its first parameter called ``self``: only then Paddle leaves it out."""
    signature = inspect.signature(float_class.forward)  # type: ignore[attr-defined]
    first, *others = signature.parameters.values()
    return signature.replace(parameters=[first.replace(name="self"), *others])
