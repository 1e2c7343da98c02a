"""Quantizers that a user wrote, as layers or functions: rounded by them in training, read as a grid in the end.

A `paddle.quantization.BaseQuanter`, or what has its methods ``scales``, ``zero_points``, ``quant_axis`` and ``bit_length``, says what its
grid is.  Of anything else the grid is measured: a function of single elements is asked for the numbers that it rounds to, a weight's
quantizer for those that it makes of the weight.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers import BaseQuantizer, QParams
from quantizers.errors import ConfigError

from ...layers import IntegerWeight
from ...util.modes import eval_mode
from .base import GridInTraining

__all__ = ["FunctionGrid", "WeightFunctionGrid", "made_function", "measured_grid", "measured_weight_grid"]

TOLERANCE = 1e-3  # of a step: float32 results of a user's own arithmetic
POINTS = 64  # numbers tried in each step of the finest grid that is looked for


def made_function(given: Any, layer: nn.Layer) -> Callable[[paddle.Tensor], paddle.Tensor]:
    """One quantizer for one tensor: a class is made, a factory of Paddle's asked, a layer copied, a function taken as it is.

    Raises:
        ConfigError: it is none of these, or cannot be made.
    """
    if hasattr(given, "_instance"):  # paddle.quantization.factory.QuanterFactory
        made = given._instance(layer)
    elif isinstance(given, type):
        try:
            made = given()
        except TypeError as error:
            raise ConfigError(f"{given.__name__} cannot be made without arguments ({error}); pass an instance, which is copied") from error
    elif isinstance(given, nn.Layer):
        made = copy.deepcopy(given)
    else:
        made = given
    if not callable(made):
        raise ConfigError(f"a quantize or preprocess function must be a layer, a class of layers, or callable, got {given!r}")
    return made  # type: ignore[no-any-return]


def _says_its_grid(function: Any) -> bool:
    return all(callable(getattr(function, name, None)) for name in ("scales", "zero_points", "bit_length"))


class FunctionGrid(GridInTraining):
    """An activation's quantizer that the user wrote."""

    def __init__(self, rule: BaseQuantizer, place: str, function: Callable[[paddle.Tensor], paddle.Tensor]) -> None:
        super().__init__(rule, place)
        self.function = function
        self.set_ready()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """What the function makes of ``x``."""
        return self.function(x)

    def qparams(self) -> QParams:
        """The function's grid; raises ``ConfigError`` where its results lie on none that stays."""
        if _says_its_grid(self.function):
            return _said_grid(self.function, self.place, None)
        with eval_mode(self), paddle.no_grad():
            return measured_grid(self._ask, self.num_bits, self.place)

    def _ask(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return np.asarray(self.function(paddle.to_tensor(values)).numpy(), dtype=np.float64)


class WeightFunctionGrid(GridInTraining):
    """A weight's quantizer that the user wrote."""

    def __init__(self, rule: BaseQuantizer, place: str, axis: int, function: Callable[[paddle.Tensor], paddle.Tensor]) -> None:
        super().__init__(rule, place)
        self.axis = axis
        self.function = function
        self.set_ready()

    def forward(self, weight: paddle.Tensor) -> paddle.Tensor:
        """What the function makes of the weight."""
        return self.function(weight)

    def integers_of(self, weight: paddle.Tensor) -> IntegerWeight:
        """What the function makes of the weight, in integers; raises ``ConfigError`` where that lies on no grid."""
        with eval_mode(self), paddle.no_grad():
            rounded = np.asarray(self.function(weight).numpy(), dtype=np.float64)
        if rounded.shape != tuple(weight.shape):
            raise ConfigError(f"{self.place}: the function makes {list(rounded.shape)} of a weight of shape {weight.shape}")
        says = _says_its_grid(self.function)
        grid = (
            _said_grid(self.function, self.place, self.axis)
            if says
            else measured_weight_grid(rounded, self.num_bits, self.axis, self.place)
        )
        return IntegerWeight.nearest(rounded, grid)


def _said_grid(quanter: Any, place: str, axis: int | None) -> QParams:
    bits = int(quanter.bit_length())
    scales = np.asarray(_numpy(quanter.scales()), dtype=np.float64)
    zeros = quanter.zero_points()
    if zeros is not None and np.any(_numpy(zeros)):
        raise ConfigError(
            f"{place}: {type(quanter).__name__} has zero points, and Paddle's quanters do not say on which side; let them be 0"
        )
    high = 2 ** (bits - 1) - 1
    per_channel = scales.size > 1
    if per_channel and axis is None:
        raise ConfigError(f"{place}: {type(quanter).__name__} has {scales.size} scales; an activation needs one")
    own = quanter.quant_axis() if hasattr(quanter, "quant_axis") else None
    scales = scales.reshape([-1] if per_channel else [])
    # Paddle's word "scale" is the number that the largest integer stands for
    step = np.where(scales > 0, scales / high, 1.0).astype(np.float32)
    chosen = None if not per_channel else (axis if own is None or int(own) < 0 else int(own))
    return QParams(step, np.zeros(step.shape, np.int32), -high - (chosen is None and axis is None), high, bits, chosen)


def _numpy(value: Any) -> Any:
    return value.numpy() if isinstance(value, paddle.Tensor) else value


def measured_grid(ask: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]], bits: int, place: str) -> QParams:
    """The grid that a function of single elements rounds to, of at most ``2 ** bits`` levels and with zero on it.

    Raises:
        ConfigError: it does not saturate, depends on the other elements, or its levels are not evenly spaced.
    """
    far = np.float32(1e6) * np.array([-2.0, -1.0, 1.0, 2.0], dtype=np.float32)
    ends = ask(far)
    if ends.shape != far.shape or not np.isfinite(ends).all() or ends[0] != ends[1] or ends[2] != ends[3] or ends[0] >= ends[3]:
        raise ConfigError(
            f"{place}: act_quantize_func has no range of its own that it clips to (it makes {ends.tolist()} of {far.tolist()}), so no grid "
            "can be made of it; let it keep its range as a parameter or buffer and clip, or give it scales() and bit_length()"
        )
    low, high = float(ends[0]), float(ends[3])
    ramp = np.linspace(low - 0.1 * (high - low), high + 0.1 * (high - low), POINTS * 2**bits, dtype=np.float32)
    found = np.unique(np.round(ask(ramp) / (high - low), 9)) * (high - low)
    steps = np.diff(found)
    if len(found) < 2 or len(found) > 2**bits or np.abs(steps - steps.mean()).max() > TOLERANCE * steps.mean() + 1e-6 * (high - low):
        raise ConfigError(
            f"{place}: act_quantize_func rounds to {len(found)} numbers that are not evenly spaced, or more than {2**bits}: "
            f"no integer grid of {bits} bits is like that"
        )
    step = (high - low) / (len(found) - 1)
    zero = -low / step
    if abs(zero - round(zero)) > TOLERANCE or not 0 <= round(zero) < 2**bits:
        raise ConfigError(f"{place}: act_quantize_func does not keep zero at zero, which integer kernels need")
    if len(found) < 2**bits - 1:
        # fewer levels than the width has: the smallest width that they are all of
        exact = int(np.ceil(np.log2(len(found))))
        bits = max(2, min(bits, exact))
    lowest, highest = -round(zero), len(found) - 1 - round(zero)
    return _grid_of_levels(np.float32(step), lowest, highest, bits, place)


def _grid_of_levels(step: np.float32, lowest: int, highest: int, bits: int, place: str) -> QParams:
    half = 2 ** (bits - 1)
    zero = np.zeros([], np.int32)
    if lowest in (-half, -half + 1) and highest == half - 1:
        return QParams(np.asarray(step), zero, -half, half - 1, bits)
    if highest - lowest == 2**bits - 1:
        return QParams(np.asarray(step), np.asarray(-lowest, np.int32), 0, 2**bits - 1, bits)
    raise ConfigError(f"{place}: act_quantize_func rounds to the integers {lowest}..{highest}, which are not all of a grid of {bits} bits")


def measured_weight_grid(rounded: npt.NDArray[np.float64], bits: int, axis: int, place: str) -> QParams:
    """The symmetric grid that a rounded weight lies on: one scale in all where there is one, else one per channel.

    Raises:
        ConfigError: there is none of at most ``2 ** bits - 1`` levels.
    """
    high = 2 ** (bits - 1) - 1
    whole = _common_step(rounded.reshape(-1), high)
    if whole is not None:
        return QParams(np.asarray(whole, dtype=np.float32), np.zeros([], np.int32), -high, high, bits)
    rows = np.moveaxis(rounded, axis, 0).reshape(rounded.shape[axis], -1)
    found = [_common_step(row, high) for row in rows]
    if any(step is None for step in found):
        raise ConfigError(
            f"{place}: what weight_quantize_func makes of the weight lies on no symmetric grid of {bits} bits, with one scale or one per "
            "channel; no integer kernel could compute with it"
        )
    scale = np.asarray(found, dtype=np.float32)
    return QParams(scale, np.zeros(scale.shape, np.int32), -high, high, bits, axis)


def _common_step(values: npt.NDArray[np.float64], high: int) -> float | None:
    """The largest step of which all values are whole multiples up to ``high``; None when there is none."""
    levels = np.unique(np.abs(values))
    largest = float(levels[-1])
    if largest == 0:
        return 1.0
    if len(levels) > high + 1:  # float noise makes several of one
        levels = np.unique(np.round(levels / largest, 7)) * largest
    for count in range(1, high + 1):
        multiples = levels * (count / largest)
        if np.abs(multiples - np.rint(multiples)).max() < TOLERANCE * 10:
            return largest / count
    return None
