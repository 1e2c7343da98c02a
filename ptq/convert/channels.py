"""Grids per channel: what depthwise convolutions read, and results of layers whose errors reach them.

The ratios of the channels' scales are undone before the tensor is rounded, in the weights of the layer that computes it or by a
multiplication, and taken up by the weights of the convolution.  Integers of weights stay, for each output channel has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from quantizers import QParams, StatisticsQuantizer, channel_grid, one_scale

from ..calibration.state import LayerState, State
from ..layers import GridInput, QuantizedActivation, QuantizedLayer
from ..placement.channels import ChannelPlace
from ..placement.targets import TARGETS
from ..registry import PTQRegistry
from .plan import Plan

__all__ = ["set_channel_grids"]


def set_channel_grids(state: State, plan: Plan, twins: Mapping[str, GridInput]) -> tuple[set[str], set[str]]:
    """Gives twins grids per channel where that gains, in place.

    Returns:
        Names of the twins whose grid is set, and of those whose results are scaled now.
    """
    done: set[str] = set()
    scaled: set[str] = set()
    for owner, place in state.traced.channels.items():
        own = plan.states.get(owner)
        if own is None or own.channels is None or owner not in twins or place.reader not in twins:
            continue
        if place.is_result and owner_of_reader(state, place) not in done:
            continue  # of no use where the reader's own input has one range
        grid = _grid(own, _gains(plan, place.reader))
        producer = twins.get(place.producer) if place.producer else None
        is_free = isinstance(producer, QuantizedLayer) and not place.is_result
        if _gain(own, grid, _gains(plan, place.reader)) < (0.0 if is_free else TARGETS[plan.target].factor_worth):
            continue
        if place.is_result and not isinstance(producer, QuantizedLayer):
            continue
        _apply(twins, owner, place, grid, producer)
        done.add(owner)
        if isinstance(producer, QuantizedLayer):
            scaled.add(place.producer)
    return done, scaled


def owner_of_reader(state: State, place: ChannelPlace) -> str:
    """The layer or grid that rounds what the reader of a place reads."""
    return next((owner for owner, other in state.traced.channels.items() if other.reader == place.reader and not other.is_result), "")


def _apply(twins: Mapping[str, GridInput], owner: str, place: ChannelPlace, grid: QParams, producer: GridInput | None) -> None:
    integers, ratios = one_scale(grid)
    twin, reader = twins[owner], twins[place.reader]
    inverse = np.asarray(1.0 / ratios.astype(np.float64), dtype=np.float32)
    if isinstance(producer, QuantizedLayer):
        producer.scale_results(inverse)
        twin.set_input_grid(integers)
    else:
        twin.set_input_grid(integers, _factor(inverse, reader))
    if place.is_result and isinstance(twin, QuantizedActivation):
        twin.restore_channels(_factor(ratios, reader))
    elif isinstance(reader, QuantizedLayer):
        reader.scale_channels(ratios)


def _factor(values: npt.NDArray[Any], reader: Any) -> paddle.Tensor:
    """Factors ``[C]`` in a shape that broadcasts over the reader's input, ``[C, 1, ..]``."""
    dims = reader._buffers["weight_quantized"].ndim - 2
    return paddle.to_tensor(np.asarray(values, dtype=np.float32).reshape([-1] + [1] * dims))


def _grid(own: LayerState, gains: npt.NDArray[np.float64]) -> QParams:
    rule = own.in_act_quantizer
    if not isinstance(rule, StatisticsQuantizer) or own.channels is None:
        raise TypeError(f"{rule!r} keeps no statistics")
    return channel_grid(own.channels, rule.kind(), gains, num_bits=rule.quant_bits)


def _gains(plan: Plan, reader: str) -> npt.NDArray[np.float64]:
    """The sum of squares of the weights that read each channel, ``[C]``."""
    layer = plan.layers[reader]
    (weight,) = PTQRegistry.layer_info(layer).weights_of(layer).values()
    array = weight.astype("float32").numpy().astype(np.float64)
    squares = np.square(array).reshape(array.shape[0], -1).sum(axis=1)
    result: npt.NDArray[np.float64] = squares.reshape(layer._in_channels, -1).sum(axis=1)
    return result


def _gain(own: LayerState, grid: QParams, gains: npt.NDArray[np.float64]) -> float:
    """How many dB less the rounding of a grid per channel costs the reader than that of the one range of the layer's rule."""
    (single,) = own.in_act_quantizer.qparams
    if own.channels is not None:
        gains = gains * (own.channels.abs_max > 0)  # a channel that is always zero is exact on any grid
    one = float(np.square(single.scale.astype(np.float64)) * gains.sum())
    each = float((np.square(grid.scale.astype(np.float64)) * gains).sum())
    return 0.0 if one == 0 else float("inf") if each == 0 else 10 * np.log10(one / each)
