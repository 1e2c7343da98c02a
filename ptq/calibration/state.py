"""All that the engine keeps of one model from `quantize` on; the model points to it once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from paddle import nn

from quantizers import BaseQuantizer, ChannelRanges, StatisticsQuantizer

from ..config.config import PTQConfig
from ..config.overrides import QuantOverride
from ..config.scheme import LayerScheme
from ..graph.dataflow import Graph
from .seen import Seen
from .summaries import SummaryCache

__all__ = ["Converted", "LayerState", "State", "Traced", "has_data", "state_of"]

_STATE = "_ptq_state"


def has_data(quantizer: BaseQuantizer) -> bool:
    """Whether calibration data reached the quantizer."""
    return quantizer.sampled or bool(getattr(quantizer, "statistics", None))


class LayerState:
    """One layer, or one activation grid, under calibration; readable as ``layer._quant_config``, with the names that Paddle uses.

    Attributes:
        name: the layer's name in the model.
        site: what messages call it: the site of an activation grid, else its name.
        scheme: what is quantized of it, and how; replaced as a whole where the trace tells more.
        in_act_quantizer, out_act_quantizer, wt_quantizer: the layer's own quantizers, also for what the scheme leaves out.
        changes: the overrides that the scheme was made with, in order.
        channels: with a grid per channel, the ranges of the input's channels so far.
        input_sites: with placement ``full``, the sites whose grids the layer's input lies on; empty when it has a grid of its own.
        quant_hook_handle: handle of the calibration hook, ``None`` when no hook is attached.
    """

    def __init__(self, name: str, scheme: LayerScheme, full: LayerScheme, changes: Sequence[QuantOverride] = (), site: str = "") -> None:
        if full.input is None or full.output is None or full.weight is None:
            raise TypeError("a layer's state starts from a scheme for all of its tensors")
        self.name = name
        self.site = site or name
        self.scheme = scheme
        self.changes = tuple(changes)
        self.in_act_quantizer = full.input.quantizer()
        self.out_act_quantizer = full.output.quantizer()
        self.wt_quantizer = full.weight.quantizer()
        self.channels: ChannelRanges | None = None
        self.input_sites: list[str] = []
        self.quant_hook_handle: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "quant_hook_handle": None}  # a copy's handle would remove the hook of the original

    @property
    def enable_in_act_quantizer(self) -> bool:
        """Whether the layer's input is sampled (compute layers)."""
        return self.scheme.calibrated_input is not None

    @property
    def enable_out_act_quantizer(self) -> bool:
        """Whether the layer's output is sampled."""
        return self.scheme.output is not None

    @property
    def is_wanted(self) -> bool:
        """Whether the layer gets a twin if it is used at all."""
        return self.scheme.input is not None or self.scheme.is_weight_only

    @property
    def is_reached(self) -> bool:
        """Whether the layer gets a twin: its input was seen, or, where that is no activation, its output, if that is looked at."""
        if self.scheme.calibrated_input is not None:
            return has_data(self.in_act_quantizer)
        needs_none = self.scheme.is_weight_only or bool(self.scheme.dynamic_input)
        return needs_none and (self.scheme.output is None or has_data(self.out_act_quantizer))

    def samplers(self) -> dict[str, BaseQuantizer]:
        """The quantizers that sample this layer, by side."""
        sides = {"input": (self.scheme.calibrated_input, self.in_act_quantizer), "output": (self.scheme.output, self.out_act_quantizer)}
        return {side: quantizer for side, (scheme, quantizer) in sides.items() if scheme is not None}

    def release(self) -> None:
        """Lets statistics go; thresholds and grids stay."""
        for quantizer in (self.in_act_quantizer, self.out_act_quantizer, self.wt_quantizer):
            if isinstance(quantizer, StatisticsQuantizer):
                quantizer.release()


@dataclass
class Traced:
    """What the trace told.

    Attributes:
        graph: the dataflow, ``None`` when there is none.
        untraced: why there is no graph.
        folded: names of the batch norms that were folded.
        pairs: the same by the name of the layer that each was folded into.
        values: of the graph, that layers and activation grids round, by their names.
        channels: those whose tensors may have a grid per channel, with the axis of the channels.
    """

    graph: Graph | None = None
    untraced: str = "the model itself was never called"
    folded: list[str] = field(default_factory=list)
    pairs: dict[str, str] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)


class Converted:
    """What conversion did: the float layers, each with the twin in its place; a copy or pickle of the model is without them."""

    def __init__(self, float_layers: Mapping[nn.Layer, nn.Layer] | None = None) -> None:
        self.float_layers = dict(float_layers or {})

    def __getstate__(self) -> dict[str, Any]:
        return {"float_layers": {}}


class State:
    """The state of one model.

    Attributes:
        config: what the user asked for.
        layers: the state of each configured layer and activation grid, by its name in the model.
        seen, traced, converted: what calibration saw, what the trace told, and what conversion did (``None`` before it).
        target: the runtime that the grids are for: that of the config, until `convert` is told of another.
        scaled_sites: places besides layers with weights whose results the converted model has times factors of the channels, and those.
        left_float: calibrated layers that `convert` was told to leave float.
        cache: summaries of the current batch's tensors.
    """

    target = "any"  # of a state from before there were others
    scaled_sites: Mapping[str, npt.NDArray[np.float32]] = MappingProxyType({})
    left_float: frozenset[str] = frozenset()

    def __init__(self, config: PTQConfig) -> None:
        self.config = config
        self.target = config.target
        self.layers: dict[str, LayerState] = {}
        self.seen = Seen()
        self.traced = Traced()
        self.converted: Converted | None = None
        self.cache = SummaryCache()

    def attach(self, model: nn.Layer) -> None:
        """Makes the model point to this state; not as an attribute that Paddle would take for a part of it."""
        object.__setattr__(model, _STATE, self)

    def release(self) -> None:
        """Lets go what only a first save needs: float layers and the user's samples."""
        self.seen.forget_samples()
        if self.converted is not None:
            self.converted = Converted()

    def __deepcopy__(self, memo: Any) -> State:
        copied = State.__new__(State)
        memo[id(self)] = copied
        vars(copied).update(
            config=self.config,
            target=self.target,
            left_float=self.left_float,
            scaled_sites=dict(self.scaled_sites),
            traced=replace(self.traced),
            cache=SummaryCache(),
        )  # nobody changes a config or a graph
        for name in ("layers", "seen", "converted"):
            setattr(copied, name, copy.deepcopy(getattr(self, name), memo))
        return copied


def state_of(model: nn.Layer) -> State | None:
    """The state of a model that `quantize` prepared, of which `convert` may have been called since."""
    return getattr(model, _STATE, None)
