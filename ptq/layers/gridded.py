"""Models whose forward puts activations on grids: the functional operations that no hook sees, and the model's inputs, included."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ModelError

from ..graph.interception import intercept
from ..registry import PTQRegistry, input_argument
from ..sites import CALL_INPUT, INPUT, ROOT
from ..util.modes import untraced
from ..util.nests import map_nest
from ..util.paddle_private import Value
from ..util.structural_copy import structural_copy
from .activation_grid import ActivationGrid
from .integer_hardswish import IntegerHardswish

__all__ = [
    "GRIDS",
    "ActivationGrids",
    "compute_in_float",
    "compute_on_integers",
    "drop_grid",
    "grids_of",
    "integer_activations_of",
    "is_gridded",
    "make_gridded",
    "on_input_grids",
    "ungridded",
    "ungridded_class",
]

GRIDS = "activation_grids"
# After the name of a place whose activation is computed on integers.
ON_INTEGERS = ":integers"
_made: dict[type, type] = {}


class ActivationGrids(nn.Layer):  # type: ignore[misc]
    """The grids of one model's activations, one sublayer a site; in a site's name ``/`` takes the place of ``.``.

    Each is an `ActivationGrid` during calibration and a `QuantizedActivation` after it.
    """

    def __init__(self, sites: Iterable[str]) -> None:
        super().__init__()
        for site in sites:
            self.add_sublayer(site.replace(".", "/"), ActivationGrid())

    def forward(self, x: Any) -> Any:
        """``x`` itself: an `nn.Sequential` calls each of its sublayers, this one too."""
        return x

    @untraced
    def on_grid(self, site: str, value: Any) -> Any:
        """``value`` (the first item of a list or tuple), put on the grid of the site where it has one."""
        grid = self._sub_layers.get(site.replace(".", "/"))
        if grid is None:
            return value
        if isinstance(value, (tuple, list)):
            return type(value)([grid(value[0]), *value[1:]])
        return grid(value)

    def operation(self, site: str, output: Any, args: Any) -> Any:
        """Watches functional operations, see `interception.Watcher`."""
        integer = self._sub_layers.get(site.replace(".", "/") + ON_INTEGERS)
        return self.on_grid(site, output if integer is None else integer(args[0]))

    def enter(self, site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """Watches what layers are given: puts the input on the grid of this use of the layer, where it has one."""
        place = f"{site}{CALL_INPUT}"
        if args:
            return (self.on_grid(place, args[0]), *args[1:]), kwargs
        name = input_argument(layer.__class__)
        return args, {**kwargs, name: self.on_grid(place, kwargs[name])} if name in kwargs else kwargs

    def layer(self, site: str, _name: str, output: Any, args: Any) -> Any:
        """Watches what layers compute."""
        return self.operation(site, output, args)


def make_gridded(model: nn.Layer, sites: Iterable[str]) -> None:
    """Gives the model `ActivationGrids` for the sites, and a class whose ``forward`` applies them; in place.

    The new class derives from the model's own and passes for it.

    Raises:
        ModelError: the model's ``forward`` is an attribute of the instance, which no class can precede.
    """
    if "forward" in vars(model):
        raise ModelError(
            f"{type(model).__name__} has a forward set on the instance, so placement 'full' cannot see its inputs; "
            "define forward in the class, or use placement='compute'"
        )
    model.add_sublayer(GRIDS, ActivationGrids(sites))
    set_gridded_class(model)


def set_gridded_class(model: nn.Layer) -> None:
    """Changes the model's class to the one whose ``forward`` applies the grids."""
    base = type(model)
    if base not in _made:
        _made[base] = _gridded_class(base)
    model.__class__ = _made[base]


def is_gridded(model: nn.Layer) -> bool:
    """Whether `make_gridded` was called for the model."""
    return type(model) in _made.values()


def grids_of(model: nn.Layer) -> Mapping[str, nn.Layer]:
    """The model's activation grids by site, empty when it has none."""
    grids = model._sub_layers.get(GRIDS) if is_gridded(model) else None
    if grids is None:
        return {}
    return {name.replace("/", "."): grid for name, grid in grids.named_children() if not name.endswith(ON_INTEGERS)}


def compute_on_integers(model: nn.Layer, sites: Iterable[str]) -> None:
    """From now on a gridded model computes the HardSwish of these places as integer kernels do."""
    for site in sites:
        model._sub_layers[GRIDS].add_sublayer(site.replace(".", "/") + ON_INTEGERS, IntegerHardswish())


def compute_in_float(model: nn.Layer) -> None:
    """Takes back `compute_on_integers`."""
    grids = model._sub_layers[GRIDS]._sub_layers if is_gridded(model) else {}
    for name in [name for name in grids if name.endswith(ON_INTEGERS)]:
        del grids[name]


def integer_activations_of(model: nn.Layer) -> frozenset[str]:
    """The places whose activation is computed on integers."""
    names = model._sub_layers[GRIDS]._sub_layers if is_gridded(model) else ()
    return frozenset(name.removesuffix(ON_INTEGERS).replace("/", ".") for name in names if name.endswith(ON_INTEGERS))


def drop_grid(model: nn.Layer, grid: nn.Layer) -> None:
    """Takes one of the model's activation grids out: its tensor is handed on as it is."""
    grids = model._sub_layers[GRIDS]._sub_layers
    for name in [name for name, layer in grids.items() if layer is grid]:
        del grids[name]


def ungridded_class(model: nn.Layer) -> type:
    """The model's class before `make_gridded`."""
    return next((base for base, made in _made.items() if made is type(model)), type(model))


def ungridded(model: nn.Layer) -> nn.Layer:
    """A structural copy that computes without its activation grids: its forward shows the model's own operations and nothing else."""
    plain = structural_copy(model)
    # the made class passes for its base, which hides the plain attribute
    vars(object)["__class__"].__set__(plain, ungridded_class(model))
    return plain


def _gridded_class(base: Any) -> type:
    # a function of its own for every class: Paddle reads the names of the inputs from it
    forward = FunctionType(_Gridded.forward.__code__, globals(), "forward")
    signature = inspect.signature(base.forward)
    first, *others = signature.parameters.values()
    forward.__signature__ = signature.replace(parameters=[first.replace(name="self"), *others])  # type: ignore[attr-defined]
    namespace = {
        "forward": forward,
        "ungridded_class": base,
        "__module__": base.__module__,
        "__doc__": base.__doc__,
        # While it traces, Paddle turns super() into super(self.__class__, self), which must not lead back here.
        "__class__": property(lambda _: base),
        "__reduce_ex__": _reduce,
    }
    return type(base.__name__, (base,), namespace)


class _Gridded:
    """Holds the ``forward`` of made classes under the name that Paddle's tracer looks for in the source."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's own ``forward``, its inputs and what it computes put on their grids."""
        base = type(self).ungridded_class
        grids = self._sub_layers[GRIDS]
        args, kwargs = on_input_grids(base, grids, args, kwargs)
        with intercept(self, grids):
            output = MethodType(base.forward, self)(*args, **kwargs)
        return grids.on_grid(ROOT, output)


@untraced
def on_input_grids(base: Any, grids: ActivationGrids, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a model, its tensors numbered in the order of ``forward``'s parameters and put on their grids."""
    bound = inspect.signature(base.forward).bind(None, *args, **kwargs)
    number = -1

    def apply(value: Any) -> Any:
        nonlocal number
        if isinstance(value, (paddle.Tensor, Value)):
            number += 1
            return grids.on_grid(f"{INPUT}{number}", value)
        return value

    for name, value in list(bound.arguments.items()):
        bound.arguments[name] = map_nest(apply, value)
    return bound.args[1:], bound.kwargs


def _reduce(model: Any, _protocol: Any) -> Any:
    """Copies and pickles by the class that can be named: the user's own, or what a twin's own reduction gives."""
    base = type(model).ungridded_class
    if PTQRegistry.is_quantized_layer(base):
        build, arguments, state = base.__reduce_ex__(model, _protocol)
        return _rebuild, (build, arguments), state
    return _rebuild, (base.__new__, (base,)), dict(vars(model))


def _rebuild(build: Any, arguments: Any) -> Any:
    model = build(*arguments)
    set_gridded_class(model)
    return model
