"""Decides which webs of tensors get ratios of their channels, and which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import AutoQuantizer, StatisticsQuantizer

from ..calibration.state import LayerState
from ..graph.dataflow import Graph
from ..layers import GridInput, QuantizedActivation, QuantizedLayer
from ..placement.targets import TARGETS
from ..placement.webs import Web, capped_values, channel_layers, find_webs, is_depthwise
from ..registry import PTQRegistry
from .channel_costs import best_ratios, even_ratios
from .channel_ratios import RatioGrid, RatioReader
from .plan import Plan

__all__ = ["Choice", "Chooser", "ratio_grid", "takes_ratios"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

WORTH = 0.1  # dB; so much must be gained where nothing is computed more


@dataclass(frozen=True)
class Choice:
    """The ratios of one web.

    Attributes:
        web: the web.
        ratios: see `best_ratios`.
        gain: dB of predicted error.
        grids: on its tensors, by the twins that have them.
        is_free: whether nothing is computed more, no weight is rounded anew and the error does not grow: small channels gain at least.
        squares: how much of a change of the channels with one ratio reaches the readers, ``[count]``.
    """

    web: Web
    ratios: Array
    gain: float
    grids: Mapping[str, RatioGrid]
    squares: Array
    is_free: bool


class Chooser:
    """Decides for one model.

    Args:
        graph: the dataflow.
        plan: of the conversion.
        twins: by name.
        owners: those that may have a grid per channel, with the value that each rounds.
        fixed: values that other twins round.
        folded: see `find_webs`.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        twins: Mapping[str, GridInput],
        owners: Mapping[str, int],
        fixed: Collection[int],
        folded: Collection[str],
    ) -> None:
        self._graph, self._plan, self._twins = graph, plan, twins
        self._fixed, self._folded = fixed, folded
        self._owners: dict[int, list[str]] = {}
        for owner, value in owners.items():
            self._owners.setdefault(value, []).append(owner)
        self._known: dict[frozenset[int], Choice] = {}

    def choose(self) -> list[Choice]:
        """What gains, webs with multiplications only where it is worth those; without them a web may be several."""
        layers = channel_layers({name: layer for name, layer in self._plan.layers.items() if takes_ratios(self._twins[name])})
        multiplied = {value for value, names in self._owners.items() if self._may_multiply(value, names)}
        capped = capped_values(self._graph)
        while True:
            webs = find_webs(self._graph, *layers, multiplied, self._fixed, self._folded, capped)
            open_ended = {value for web in webs if not self._ends_at_caps(web) for value in web.caps}
            if open_ended:
                capped -= open_ended
                continue
            found = [self._choice(web) for web in webs]
            refused = {value for choice in found if choice.gain < self._worth(choice.web) for value in choice.web.entries}
            if not refused:
                return [choice for choice in found if choice.gain >= WORTH or choice.is_free]
            multiplied -= refused

    def _ends_at_caps(self, web: Web) -> bool:
        """Whether all channels that a ReLU6 computes may be even: the web's one grid rounds just that, so its upper end is the ReLU6's."""
        grids = [(value, name) for value in web.labels for name in self._owners.get(value, [])]
        if len(grids) != 1 or web.entries or web.caps != (grids[0][0],) or not self._is_read_from_grid(*grids[0]):
            return False
        is_even = all(labels.all() and np.unique(labels).size == labels.size for labels in web.labels.values())
        return is_even and all(is_depthwise(self._plan.layers[name]) for name in web.readers)

    def _worth(self, web: Web) -> float:
        """What multiplications in front of a web's grids must gain, in dB."""
        target = TARGETS[self._plan.target]
        keeps_integers = any(is_depthwise(self._plan.layers[name]) for name in web.readers)
        return max(target.factor_worth if keeps_integers else target.dense_worth, WORTH)

    def _may_multiply(self, value: int, names: Sequence[str]) -> bool:
        """Whether all that reads a value reads it from behind its grid, and nothing that computes it is merged with the grid."""
        producer = self._graph.producer(value)
        is_merged = producer is not None and producer.plain_name in TARGETS[self._plan.target].merged
        return not is_merged and self._is_read_from_grid(value, names[0])

    def _is_read_from_grid(self, value: int, owner: str) -> bool:
        """Whether all that reads a value reads it from behind the grid of that twin."""
        return isinstance(self._twins[owner], QuantizedActivation) or len(self._graph.consumers(value)) == 1

    def _choice(self, web: Web) -> Choice:
        key = frozenset(web.labels)
        if key not in self._known:
            grids = {
                name: ratio_grid(self._plan.states[name], labels)
                for value, labels in web.labels.items()
                for name in self._owners.get(value, [])
            }
            readers = [self._reader(name, web.labels[value], grids) for name, value in web.readers.items()]
            squares = np.zeros(web.count)
            for reader in readers:
                np.add.at(squares, reader.labels, reader.squares)
            # what changes the integers of a weight would change what the ranges of such a rule are chosen by
            is_auto = any(isinstance(self._plan.states[name].in_act_quantizer, AutoQuantizer) for name in grids)
            is_open = bool(grids) and not (is_auto and not all(reader.keeps_integers for reader in readers))
            find = even_ratios if web.caps else best_ratios
            ratios, gain = find(list(grids.values()), readers, web.count) if is_open else (np.ones(web.count), -np.inf)
            is_free = is_open and not web.entries and gain > -WORTH and all(reader.keeps_integers for reader in readers)
            self._known[key] = Choice(web, ratios, gain, grids, squares, is_free)
        return self._known[key]

    def _reader(self, name: str, labels: Labels, grids: Mapping[str, RatioGrid]) -> RatioReader:
        layer, (grid,) = self._plan.layers[name], self._plan.states[name].wt_quantizer.qparams
        weight = layer.weight.astype("float32").numpy()
        error = self._twins[name].weight.astype("float32").numpy() - weight
        groups = getattr(layer, "_groups", 1)
        if PTQRegistry.layer_info(layer).quant_axis == 1:  # [in, out, ..]
            weight, error = weight.swapaxes(0, 1), error.swapaxes(0, 1)
        shape = (groups, weight.shape[0] // groups, weight.shape[1], -1)
        read = next((grids[owner] for owner in self._plan.on_grids.get(name, [name]) if owner in grids), None)
        powers = np.ones(labels.size) if read is None else read.powers
        return RatioReader(labels, weight.reshape(shape), error.reshape(shape), grid.quant_max, grid.quant_axis is not None, powers)


def ratio_grid(own: LayerState, labels: Labels) -> RatioGrid:
    """The grid of a layer's input, or of an activation, with the ratios of its channels; raises ``TypeError`` without statistics."""
    rule = own.in_act_quantizer
    if not isinstance(rule, StatisticsQuantizer) or own.channels is None:
        raise TypeError(f"{rule!r} keeps no statistics")
    (single,) = rule.qparams
    seen = rule.statistics[0].histogram
    share = 1.0 - seen.zeros / seen.total if seen.total else 1.0
    return RatioGrid(labels, own.channels, seen.mean_square, share, rule.kind(), rule.quant_bits, float(single.scale))


def takes_ratios(twin: Any) -> bool:
    """Whether ratios of channels can go into the weights of a twin: they are stored as plain integers, and it has a grid of inputs."""
    return (
        isinstance(twin, QuantizedLayer) and twin.dynamic is None and "weight_quantized" in twin._buffers and "weight" not in twin._layouts
    )
