"""What a pair of saved programs tells of its layers without being run: weights, grids of inputs, channels in other units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from paddle import nn

from quantizers import QParams

from ...graph.operators import OPERATORS, Moves
from ...placement.webs import is_depthwise
from ...programs import Program
from ...programs.program import layer_at
from ...programs.rounding import Rounding, roundings
from ...programs.steps import Call
from ...programs.taps import NORMS, Tap
from ...registry import PTQRegistry
from .subject import Facts

__all__ = ["ChannelFactors", "ProgramFacts"]

Array = npt.NDArray[Any]
ChannelFactors = Sequence[tuple[Array | None, Array | None]]
MAX_POOLS = (nn.MaxPool1D, nn.MaxPool2D, nn.MaxPool3D)


class ProgramFacts:
    """Attributes: ``facts`` of each layer, in order; ``results``: by its number, ``[C]``, what its result is multiplied by.

    ``factors``: what the channels of each layer's input and result are multiplied by, where that is known; else, as an artifact of an
    older version has them in front of depthwise convolutions alone, they are found in the weights.
    """

    def __init__(
        self, float_program: Program, program: Program, taps: Sequence[Tap], others: Sequence[Tap], factors: ChannelFactors | None = None
    ) -> None:
        self._program = program
        self._held = {place: (path, name) for place, path, name in program._held}
        self._makers = {(step[3] if isinstance(step[3], int) else step[3][0]): n for n, step in enumerate(program._steps)}
        self._roundings = {rounding.result: rounding for rounding in roundings(program)}
        self._taps = {tap.place: number for number, tap in enumerate(others)}
        self.results: dict[int, Array] = {}
        pairs = [(_folded_weight(float_program, a), _weight(program, b.step)) for a, b in zip(taps, others, strict=True)]
        if factors is None:
            inputs = [self._input_factors(other, pairs) for other in others]
            self._restored_results()
        else:
            inputs = [own for own, _ in factors]
            self.results = {number: own for number, (_, own) in enumerate(factors) if own is not None}
        found = [
            self._facts(float_program, tap, other, pair, factors)
            for tap, other, pair, factors in zip(taps, others, pairs, inputs, strict=True)
        ]
        self.facts = [self._in_float_units(number, facts) for number, facts in enumerate(found)]

    def _facts(self, floats: Program, tap: Tap, other: Tap, pair: tuple[Array | None, Array | None], factors: Array | None) -> Facts:
        path = floats._steps[tap.step][0]
        layer = layer_at(floats, path) if path else None
        op = type(layer).__name__ if layer is not None else floats._steps[tap.step][1].function
        known = layer is not None and PTQRegistry.is_registered_layer(layer)
        axis = (PTQRegistry.layer_info(layer).quant_axis or 0) if known else 1
        weight, rounded = pair
        if weight is None or rounded is None or weight.shape != rounded.shape or np.array_equal(weight, rounded):
            return Facts(op, weight, axis=axis, channel_axis=_channel_axis(weight))
        rounding = self._rounding_before(self._program._steps[other.step][2][0])
        grid = None if rounding is None else _grid(rounding)
        return Facts(op, weight, rounded, axis, None, grid, factors, _channel_axis(weight))

    def _in_float_units(self, number: int, facts: Facts) -> Facts:
        """The rounded weight in the units of the float one."""
        if facts.rounded is None:
            return facts
        shape = facts.rounded.shape
        axis = facts.axis % len(shape)
        rows = np.ones([size if number == axis else 1 for number, size in enumerate(shape)])
        if number in self.results:
            rows = rows * self.results[number].reshape(rows.shape)
        if facts.factors is not None:
            rows = rows / _read_by(facts.factors, shape, axis)
        return facts if (rows == 1).all() else replace(facts, rounded=facts.rounded / rows.astype(np.float32))

    def _restored_results(self) -> None:
        """Notes results whose channels are multiplied before they are rounded and back after it."""
        for step in self._program._steps:
            rounding = self._roundings.get(step[2][0]) if step[2] else None
            if rounding is None or rounding.source not in self._taps:
                continue
            path, _, reads, _, _ = step
            size = None if path or len(reads) != 2 or reads[1] not in self._held else self._constant(reads[1]).size
            factor = self._channel_factor(step, int(size)) if size else None
            if factor is not None:
                self.results[self._taps[rounding.source]] = 1.0 / factor

    def _constant(self, place: int) -> Any:
        path, name = self._held[place]
        return getattr(layer_at(self._program, path), name)

    def _input_factors(self, other: Tap, pairs: Sequence[tuple[Array | None, Array | None]]) -> Array | None:
        """What each channel that a depthwise convolution reads is multiplied by, ``[C]``; notes the producer that does so."""
        path, _, reads, _, _ = self._program._steps[other.step]
        layer = layer_at(self._program, path) if path else None
        if layer is None or not is_depthwise(layer):
            return None
        place = reads[0]
        for _ in range(4):
            rounding = self._roundings.get(place)
            if rounding is not None:
                place = rounding.source
                continue
            if place in self._taps:
                return self._scaled_results(self._taps[place], pairs, layer._in_channels)
            step = self._program._steps[self._makers[place]] if place in self._makers else None
            if step is None:
                return None
            factor = self._channel_factor(step, layer._in_channels)
            if factor is not None:
                return factor
            is_relu = isinstance(layer_at(self._program, step[0]), nn.ReLU) if step[0] else getattr(step[1], "function", "") == "relu"
            if not is_relu:
                return None
            place = step[2][0]
        return None

    def _channel_factor(self, step: Any, channels: int) -> Array | None:
        path, call, reads, _, _ = step
        if path or not isinstance(call, Call) or call.function != "multiply" or len(reads) != 2 or reads[1] not in self._held:
            return None
        tensor = self._constant(reads[1])
        return tensor.numpy().reshape(-1).astype(np.float64) if tensor.size == channels > 1 else None

    def _scaled_results(self, number: int, pairs: Sequence[tuple[Array | None, Array | None]], channels: int) -> Array | None:
        """The ratio of quantized and float weights in each output channel, by least squares; ``None`` where all are near 1."""
        weight, rounded = pairs[number]
        if weight is None or rounded is None or weight.shape != rounded.shape or weight.shape[0] != channels:
            return None
        flat, other = (array.reshape(channels, -1).astype(np.float64) for array in (weight, rounded))
        power = np.square(flat).sum(axis=1)
        ratios = np.where(power > 0, (flat * other).sum(axis=1) / np.where(power > 0, power, 1.0), 1.0)
        ratios = np.where(ratios > 0, ratios, 1.0)
        if np.abs(ratios - 1).max() < 0.02:
            return None
        self.results[number] = ratios
        return ratios

    def _rounding_before(self, place: int) -> Rounding | None:
        """The rounding whose values arrive at a place, moved at most."""
        while place not in self._roundings:
            if place not in self._makers:
                return None
            path, call, reads, _, _ = self._program._steps[self._makers[place]]
            if path:
                moves = isinstance(layer_at(self._program, path), (*MAX_POOLS, nn.Flatten))
            else:
                name = getattr(call, "function", "").removesuffix("_")
                moves = name in OPERATORS and OPERATORS[name].moves is Moves.ALWAYS
            if not moves or not reads:
                return None
            place = reads[0]
        return self._roundings[place]


def _read_by(factors: Array, shape: Sequence[int], axis: int) -> Array:
    """Factors of the channels that a layer reads, in a shape that broadcasts over its weight, whose outputs lie on an axis."""
    if axis:  # [in, out, ..]
        return factors.reshape([-1] + [1] * (len(shape) - 1))
    each = factors.reshape(-1, shape[1])
    return np.repeat(each, shape[0] // each.shape[0], axis=0).reshape(*shape[:1], shape[1], *[1] * (len(shape) - 2))


def _folded_weight(program: Program, tap: Tap) -> Array | None:
    """The weight of a layer of the float program, the batch norm behind it folded in, as it is before quantizing."""
    weight = _weight(program, tap.step)
    makers = {(step[3] if isinstance(step[3], int) else step[3][0]): step for step in program._steps}
    place = tap.place
    while weight is not None and makers[place] is not program._steps[tap.step]:
        path, _, reads, _, _ = makers[place]
        norm = layer_at(program, path) if path else None
        if isinstance(norm, NORMS):
            layer_path = program._steps[tap.step][0]
            layer = layer_at(program, layer_path) if layer_path else None
            axis = (PTQRegistry.layer_info(layer).quant_axis or 0) if layer is not None else weight.ndim - 1
            weight = weight * _norm_factor(norm).reshape([-1 if n == axis else 1 for n in range(weight.ndim)])
        place = next(place for place in reads if place in makers)
    return weight


def _norm_factor(norm: Any) -> Array:
    variance = norm._variance.numpy().astype(np.float64)
    gain = 1.0 if norm.weight is None else norm.weight.numpy().astype(np.float64)
    return np.asarray(gain / np.sqrt(variance + norm._epsilon), dtype=np.float32)


def _grid(rounding: Rounding) -> QParams:
    bits = max(2, int(rounding.quant_max).bit_length())
    scale, zero = np.asarray(rounding.scale, dtype=np.float32), np.asarray(rounding.zero_point, dtype=np.int32)
    return QParams(scale, zero, 0, rounding.quant_max, bits)


def _channel_axis(weight: Array | None) -> int | None:
    return None if weight is None else 1 if weight.ndim > 2 else -1


def _weight(program: Program, number: int) -> Array | None:
    """The weight of a step's layer, or the constant that it multiplies by."""
    path, _, reads, _, _ = program._steps[number]
    if path:
        weight = getattr(layer_at(program, path), "weight", None)
        return None if weight is None else weight.astype("float32").numpy()
    held = {place: (where, name) for place, where, name in program._held}
    if len(reads) < 2 or reads[1] not in held:
        return None
    where, name = held[reads[1]]
    return np.asarray(getattr(layer_at(program, where), name).astype("float32").numpy())
