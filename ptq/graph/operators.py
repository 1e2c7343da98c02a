"""What is known of Paddle's operators, each fact in one place.

Names are plain: ``add`` for ``pd_op.add`` and ``pd_op.add_``, ``combine`` for ``builtin.combine``.  An operator that is not in the table
has none of the facts.  What a *runtime* needs of an operator is not here but in `placement.targets`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

__all__ = ["OPERATORS", "Cost", "Keeps", "Moves", "Operator", "names_of", "operator_of", "plain_name"]

Bounds = tuple[float, float]


class Moves(Enum):
    """Whether the result holds elements of the first input (or zeros) and nothing else, so that what lay on a grid still does."""

    NEVER = "never"
    ALWAYS = "whatever its attributes"
    WITH_ZEROS = "when what it puts around its input is zero"
    BY_MAXIMUM = "when it pools by the maximum"
    WHEN_OFF = "when it does nothing, as a dropout in eval mode"


class Keeps(Enum):
    """Whose being never negative makes the result never negative."""

    NOTHING = "nobody's"
    FIRST = "the first input's"
    ALL = "all inputs' together"


class Cost(Enum):
    """What its multiply-accumulates are counted by."""

    NOTHING = "none worth counting"
    CONVOLUTION = "a weight [out, in / groups, *kernel] for every element of the result"
    TRANSPOSED = "a weight [in, out / groups, *kernel] for every element of the input"
    PRODUCT = "the summed axis for every element of the result"
    ADDED_PRODUCT = "the same of its second and third input"
    EINSUM = "all indices of its equation"
    RECURRENT = "every weight matrix in every step"


@dataclass(frozen=True)
class Operator:
    """The facts on one operator.

    ``moves``: it only moves, selects or repeats elements, see `Moves`; ``copies``: it hands on its input, maybe in another type.
    ``nonnegative``: its result is never negative; ``keeps_nonnegative``: it is not where its inputs are not, see `Keeps`.
    ``elementwise``: each element of the result depends on the elements at its own place alone, operands broadcast.
    ``activation``: a layer before it is observed after it.
    ``joins``: its inputs, or the tensors of its one list, are operands alike; ``averages``: its result is a mean of its first input.
    ``cost``: of its multiply-accumulates, see `Cost`; ``names_layer``: a layer is called after it, whatever else the layer does.
    ``saturates``: from its attributes, the bounds beyond which inputs make no difference to the result, ``None`` for no such bounds.
    ``takes_masks``: what it reads may hold infinities that mask elements.
    ``is_norm``: a batch norm; ``is_random``: it draws random numbers; ``is_stored``: a parameter or constant of the program;
    ``is_structure``: how a program is written down, not what it computes.
    ``is_seen``: interception sees it where Paddle's code calls it by this name; ``symbols``: the methods behind Python's operators that
    compute it in eager mode; ``with_number``: what Paddle makes of it when the other operand is a Python number.
    """

    moves: Moves = Moves.NEVER
    copies: bool = False
    nonnegative: bool = False
    keeps_nonnegative: Keeps = Keeps.NOTHING
    elementwise: bool = False
    activation: bool = False
    joins: bool = False
    averages: bool = False
    cost: Cost = Cost.NOTHING
    names_layer: bool = False
    saturates: Callable[[Mapping[str, Any]], Bounds | None] | None = None
    takes_masks: bool = False
    is_norm: bool = False
    is_random: bool = False
    is_stored: bool = False
    is_structure: bool = False
    is_seen: bool = False
    symbols: tuple[str, ...] = ()
    with_number: str = ""


def _hardsigmoid_bounds(attributes: Mapping[str, Any]) -> Bounds | None:
    slope, offset = attributes["slope"], attributes["offset"]
    return (-offset / slope, (1 - offset) / slope) if slope > 0 else None


_NONE = Operator()
_MOVING = Operator(moves=Moves.ALWAYS, keeps_nonnegative=Keeps.FIRST)
_ACTIVATION = Operator(activation=True, elementwise=True, is_seen=True)
_POSITIVE_ACTIVATION = replace(_ACTIVATION, nonnegative=True)
_FUNCTION = Operator(elementwise=True, is_seen=True)
_POSITIVE_FUNCTION = replace(_FUNCTION, nonnegative=True)
_SEEN = Operator(is_seen=True)
_CONVOLUTION = Operator(cost=Cost.CONVOLUTION, names_layer=True, is_seen=True)
_TRANSPOSED = replace(_CONVOLUTION, cost=Cost.TRANSPOSED)
_PRODUCT = Operator(cost=Cost.PRODUCT, names_layer=True)
_POOL = Operator(moves=Moves.BY_MAXIMUM, averages=True, is_seen=True)
_NORM = Operator(is_norm=True, names_layer=True)
_RANDOM = Operator(is_random=True)
_STORED = Operator(is_stored=True)
_STRUCTURE = Operator(is_structure=True)


def _each(names: str, operator: Operator) -> dict[str, Operator]:
    return dict.fromkeys(names.split(), operator)


OPERATORS: Mapping[str, Operator] = {
    # activations
    **_each("relu relu6 sigmoid", _POSITIVE_ACTIVATION),
    **_each("leaky_relu prelu swish silu gelu tanh elu", _ACTIVATION),
    "hardswish": replace(_ACTIVATION, saturates=lambda _: (-3.0, math.inf)),
    "hardsigmoid": replace(_POSITIVE_ACTIVATION, saturates=_hardsigmoid_bounds),
    "softmax": Operator(nonnegative=True, takes_masks=True, is_seen=True),
    **_each("mish softplus hardtanh clip", _FUNCTION),
    # arithmetic
    "add": Operator(
        elementwise=True, joins=True, keeps_nonnegative=Keeps.ALL, is_seen=True, symbols=("__add__", "__radd__"), with_number="scale"
    ),
    "subtract": Operator(elementwise=True, joins=True, is_seen=True, symbols=("__sub__", "__rsub__"), with_number="scale"),
    "multiply": Operator(
        elementwise=True, joins=True, keeps_nonnegative=Keeps.ALL, is_seen=True, symbols=("__mul__", "__rmul__"), with_number="scale"
    ),
    "divide": replace(_FUNCTION, symbols=("__truediv__", "__rtruediv__"), with_number="scale"),
    "pow": replace(_FUNCTION, symbols=("__pow__",)),
    **_each("scale maximum minimum sqrt rsqrt", _FUNCTION),
    **_each("abs square exp", _POSITIVE_FUNCTION),
    "concat": Operator(joins=True, keeps_nonnegative=Keeps.FIRST, is_seen=True),
    "stack": _SEEN,
    # convolutions and products
    **_each("conv2d conv3d depthwise_conv2d", _CONVOLUTION),
    **_each("conv2d_transpose conv3d_transpose depthwise_conv2d_transpose", _TRANSPOSED),
    "conv2d_transpose_bias": replace(_TRANSPOSED, is_seen=False),
    "matmul": replace(_PRODUCT, is_seen=True, symbols=("__matmul__",)),
    "bmm": replace(_PRODUCT, is_seen=True),
    **_each("mv dot", _PRODUCT),
    "addmm": replace(_PRODUCT, cost=Cost.ADDED_PRODUCT),
    "einsum": replace(_PRODUCT, cost=Cost.EINSUM),
    "rnn": replace(_PRODUCT, cost=Cost.RECURRENT),
    # pools, means, norms
    "pool2d": replace(_POOL, keeps_nonnegative=Keeps.FIRST),
    "pool3d": replace(_POOL, keeps_nonnegative=Keeps.FIRST),
    "mean": Operator(averages=True, keeps_nonnegative=Keeps.FIRST, is_seen=True),
    **_each("layer_norm group_norm instance_norm", _SEEN),
    **_each("batch_norm sync_batch_norm", _NORM),
    "embedding": Operator(names_layer=True),
    # what moves elements
    **_each("reshape transpose flatten squeeze unsqueeze slice strided_slice split split_with_num assign", _MOVING),
    **_each("expand tile gather gather_nd index_select flip roll unbind pixel_shuffle channel_shuffle", _MOVING),
    **_each("max_pool2d_with_index max_pool3d_with_index share_data view_shape", _MOVING),
    "nearest_interp": replace(_MOVING, is_seen=True),
    **_each("bilinear_interp bicubic_interp linear_interp trilinear_interp", _SEEN),
    "pad": Operator(moves=Moves.WITH_ZEROS, keeps_nonnegative=Keeps.ALL),  # the number is an operand
    "pad3d": Operator(moves=Moves.WITH_ZEROS, keeps_nonnegative=Keeps.FIRST),
    "dropout": Operator(moves=Moves.WHEN_OFF, keeps_nonnegative=Keeps.FIRST),
    **_each("assign_out cast", Operator(copies=True)),
    "combine": Operator(keeps_nonnegative=Keeps.ALL),
    # what is random
    **_each("uniform uniform_inplace gaussian gaussian_inplace truncated_gaussian_random standard_gamma exponential", _RANDOM),
    **_each("bernoulli binomial poisson multinomial randint randperm rrelu", _RANDOM),
    # how a program is written down
    **_each("parameter constant", _STORED),
    **_each("data full full_like full_int_array shape shape64 numel fetch while if increment", _STRUCTURE),
    **_each("create_array create_array_like array_write array_read array_length array_to_tensor", _STRUCTURE),
}


def plain_name(name: str) -> str:
    """``add`` for ``pd_op.add`` and for ``pd_op.add_``, the in-place form."""
    return name.split(".", 1)[-1].rstrip("_")


def operator_of(name: str) -> Operator:
    """The facts on an operator, by its plain name or by that of the program."""
    return OPERATORS.get(plain_name(name), _NONE)


def names_of(fact: Callable[[Operator], object]) -> frozenset[str]:
    """The plain names of the operators for which ``fact`` is true."""
    return frozenset(name for name, operator in OPERATORS.items() if fact(operator))
