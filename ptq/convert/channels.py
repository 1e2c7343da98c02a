"""Grids per channel: ratios of channels, which the layers that compute a tensor undo and the layers that read it take up.

The ratios are undone before the tensor is rounded, in the weights of the layers that compute it or by a multiplication.  A depthwise
convolution that reads it keeps its integers, for each of its outputs has a scale of its own; other weights are rounded anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from quantizers import channel_grid, one_scale

from ..calibration.state import State
from ..graph.dataflow import Graph
from ..layers import GridInput, QuantizedActivation, QuantizedLayer
from ..placement.targets import TARGETS
from ..placement.webs import before_activation, is_depthwise
from .channel_choice import Choice, Chooser, ratio_grid, takes_ratios
from .plan import Plan
from .weights import Rounding, integer_weights

__all__ = ["ChannelGrids", "set_channel_grids"]

Array = npt.NDArray[np.float64]


@dataclass
class ChannelGrids:
    """What became of a model's twins.

    Attributes:
        done: names of those whose grid is set.
        scaled: names of those whose results are multiplied by factors of their channels.
        sites: places of all else whose results are, since it reads those, with the factors, in a shape that broadcasts.
    """

    done: set[str] = field(default_factory=set)
    scaled: set[str] = field(default_factory=set)
    sites: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


def set_channel_grids(state: State, plan: Plan, twins: Mapping[str, GridInput], rounding: Rounding) -> ChannelGrids:
    """Gives twins grids per channel where that gains, in place."""
    graph, values = state.traced.graph, state.traced.values
    rounding_twins = [name for name in values if name in twins and twins[name].input_qparams is not None]
    owners = {name: values[name] for name in rounding_twins if name in state.traced.channels and plan.states[name].channels is not None}
    if graph is None or not owners:
        return ChannelGrids()
    fixed = {values[name] for name in rounding_twins if name not in owners}
    ratios = _Ratios(graph, plan, twins, owners)
    for choice in Chooser(graph, plan, twins, owners, fixed, state.traced.folded).choose():
        ratios.apply(choice, rounding)
    return ratios.found


class _Ratios:
    """Changes the twins of one model."""

    def __init__(self, graph: Graph, plan: Plan, twins: Mapping[str, GridInput], owners: Mapping[str, int]) -> None:
        self.graph, self.plan, self.twins, self.owners = graph, plan, twins, owners
        self.found = ChannelGrids()

    def apply(self, choice: Choice, rounding: Rounding) -> None:
        """Gives the tensors of one web their ratios."""
        web, ratios = choice.web, choice.ratios
        for name, value in web.producers.items():
            self._undo(name, ratios[web.labels[value]])
        for name, grid in choice.grids.items():
            is_entry = self.owners[name] in web.entries
            factor = self._factor(1.0 / ratios[grid.labels], self.owners[name], web.axis) if is_entry else None
            self.twins[name].set_input_grid(grid.with_ratios(ratios), factor)
            self.found.done.add(name)
        for name, value in web.readers.items():
            self._take_up(name, ratios[web.labels[value]], rounding)
        for value in web.entries:
            self._set_result_before(choice, value)
        scaled = web.labels.keys() - set(web.entries) - set(web.producers.values())
        calls = [(call.name, call.results[0]) for call in self.graph.sites if call.results and call.layer not in web.readers]
        for site, value in (*calls, *self.graph.operations.items()):
            if value in scaled:
                self.found.sites[site] = self._factor(1.0 / ratios[web.labels[value]], value, web.axis).numpy()

    def _undo(self, name: str, ratios: Array) -> None:
        twin = self.twins[name]
        if isinstance(twin, QuantizedLayer) and (ratios != 1).any():
            twin.scale_results((1.0 / ratios).astype(np.float32))
            self.found.scaled.add(name)

    def _take_up(self, name: str, ratios: Array, rounding: Rounding) -> None:
        twin, layer, factors = self.twins[name], self.plan.layers[name], ratios.astype(np.float32)
        if isinstance(twin, QuantizedLayer) and (factors != 1).any():
            keeps = is_depthwise(layer) and twin.weight_scale.size > 1
            twin.scale_channels(factors, None if keeps else integer_weights(layer, self.plan.states[name], rounding, factors)[0])

    def _set_result_before(self, choice: Choice, value: int) -> None:
        """Gives the result of a layer, of which an activation makes ``value``, ratios too, which are taken back behind its grid."""
        source = before_activation(self.graph, value)
        owner = next((name for name, own in self.owners.items() if own == source), "")
        producer = "" if source is None else self._producer(source)
        grid = self.twins.get(owner)
        if source is None or not producer or not isinstance(grid, QuantizedActivation) or owner in self.found.done:
            return
        own = ratio_grid(self.plan.states[owner], choice.web.labels[value])
        gains = choice.squares[own.labels] * (own.ranges.abs_max > 0)
        each = channel_grid(own.ranges, own.kind, gains, num_bits=own.bits)
        before, after = own.step**2 * gains.sum(), np.square(each.scale.astype(np.float64)) @ gains
        if after > before * 10 ** (-TARGETS[self.plan.target].factor_worth / 10):
            return
        integers, ratios = one_scale(each)
        self._undo(producer, ratios.astype(np.float64))
        grid.set_input_grid(integers)
        grid.restore_channels(self._factor(ratios, source, choice.web.axis))
        self.found.done.add(owner)

    def _producer(self, value: int) -> str:
        """The layer that computes a value for one reader, in its only call, from parameters of its own; else empty."""
        name = next((site.layer for site in self.graph.sites if value in site.outputs), "")
        is_alone = len(self.graph.consumers(value)) == 1 and value not in self.graph.outputs and len(self.graph.sites_of(name)) == 1
        return name if is_alone and takes_ratios(self.twins.get(name)) and self.graph.has_private_parameters(name) else ""

    def _factor(self, values: npt.NDArray[Any], value: int, axis: int) -> paddle.Tensor:
        """Factors ``[C]`` in a shape that broadcasts over a tensor."""
        behind = self.graph.ranks[value] - 2 if axis == 1 else 0
        return paddle.to_tensor(np.asarray(values, dtype=np.float32).reshape([-1] + [1] * behind))
