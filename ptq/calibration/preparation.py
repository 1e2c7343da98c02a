"""What is done to a model once the shapes of its inputs are known, at the latest in the first batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from paddle import nn

from quantizers import StatisticsQuantizer
from quantizers.errors import TraceError

from ..config.config import PTQConfig
from ..config.keys import Changes
from ..config.scheme import LayerScheme
from ..graph.dataflow import Graph
from ..graph.tracing import trace
from ..layers.gridded import grids_of, make_gridded
from ..passes.fuse import check_folded, fuse_named, fuse_traced
from ..placement.overrides import place_overrides
from ..placement.plan import Placement, place_calls, place_full
from ..placement.webs import before_activation, capped_values, channel_layers, find_webs
from ..registry import PTQRegistry
from ..sites import CALL_INPUT
from ..util.messages import warn
from .attachment import configure
from .hooks import remove_hooks
from .state import LayerState, State

__all__ = ["Preparation"]


class Preparation:
    """Traces the model, folds its batch norms and decides which tensors get a grid.

    Args:
        config: what the model is quantized with.
        fuse: fold by the graph, unless `fuse_by_name` is called.
    """

    def __init__(self, config: PTQConfig, fuse: bool) -> None:
        self.config = config
        self.fuse = fuse
        self.activated: set[str] = set()
        self.folded: list[tuple[str, str]] = []
        self._graph: Graph | None = None

    def look(self, model: nn.Layer, specs: Sequence[Any]) -> None:
        """Traces the model before anything is changed, so that what cannot be done is refused in time; raises as a call does."""
        self._graph, _ = self._trace(model, specs, {})

    def fuse_by_name(self, model: nn.Layer, fuse_list: Sequence[Sequence[str]]) -> None:
        """Folds what the list names at once; it is held against the dataflow now where that is known, else later."""
        self.activated, self.folded = fuse_named(model, fuse_list, self._graph)
        self.fuse, self._graph = False, None

    def __call__(self, model: nn.Layer, state: State) -> None:
        """In the first batch: traces, folds and places the grids.

        Raises:
            TraceError: the model cannot be traced, and folding or the placement needs it.
            FuseError: what was folded by name should not have been.
        """
        args, kwargs = state.seen.input_spec or ((), {})
        self.trace_and_fold(model, state, args, kwargs)
        self.place(model, state)

    def trace_and_fold(self, model: nn.Layer, state: State, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """The first half of a call, for which no layer needs to be configured."""
        traced = state.traced
        traced.graph, traced.untraced = (self._graph, "") if self._graph is not None else self._trace(model, args, kwargs)
        self._graph = None
        if traced.graph is None:
            warn(f"{traced.untraced}. Without it the engine cannot know which outputs feed an activation")
        else:
            check_folded(self.folded, traced.graph)
            if self.fuse:
                self._fold(model, state, traced.graph, args, kwargs)
        traced.folded, traced.pairs = [norm for _, norm in self.folded], dict(self.folded)

    def _fold(self, model: nn.Layer, state: State, graph: Graph, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.folded = fuse_traced(model, graph, remove_hooks)
        norms = [norm for _, norm in self.folded]
        self.activated.difference_update(norms)
        for norm in norms:
            state.layers.pop(norm, None)
        if norms and self.config.placement == "full":
            state.traced.graph = trace(model, args, kwargs)

    def _trace(self, model: nn.Layer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Graph | None, str]:
        """The graph, or why there is none; refused where the graph, or fixed places in it, are indispensable."""
        try:
            graph = trace(model, args, kwargs)
        except TraceError as error:
            if self.config.placement == "full":
                raise TraceError(f"{error}; placement 'full' needs the trace: use placement='compute'") from error
            if self.fuse:
                raise TraceError(f"{error}; pass fuse_list, or fuse=False") from error
            return None, str(error)
        if self.config.placement == "full" and any(op.has_blocks for op in graph.ops):
            raise TraceError(
                f"{type(model).__name__} branches or loops on data, so its operations have no fixed places; use placement='compute'"
            )
        return graph, ""

    def place(self, model: nn.Layer, state: State) -> None:
        """Turns sampling off for outputs that feed an activation, and tells quantizers what is never negative."""
        graph = state.traced.graph
        layers = dict(model.named_sublayers(include_self=True))
        for name, own in state.layers.items():
            if name in self.activated or (graph is not None and graph.is_followed_by_activation(name)):
                own.scheme = replace(own.scheme, output=None)
            if graph is not None:
                own.in_act_quantizer.nonnegative = graph.has_nonnegative_input(name)
            if name in layers and PTQRegistry.layer_info(layers[name]).nonnegative:
                own.out_act_quantizer.nonnegative = True
        placement = Placement() if graph is None else self._plan(model, state, graph)
        placement, changes = place_overrides(model, self.config.overrides, placement)
        if graph is not None and placement.sites:
            self._place_grids(model, state, graph, placement, changes)
        if graph is not None and not any(op.has_blocks for op in graph.ops):
            self._place_channels(model, state, graph, placement)

    def _plan(self, model: nn.Layer, state: State, graph: Graph) -> Placement:
        compute = _compute_layers(model, state)
        if self.config.placement == "compute":
            if any(op.has_blocks for op in graph.ops) or "forward" in vars(model):
                return Placement()  # layers that are called several times get one range, see `ptq.convert`
            return place_calls(graph, compute)
        placement = place_full(graph, compute)
        if placement.unseen:
            warn(
                f"{', '.join(placement.unseen)}: called through something that cannot be followed, so what it computes gets no grid; "
                "call it by a name of a module, such as paddle.matmul"
            )
        return placement

    def _place_channels(self, model: nn.Layer, state: State, graph: Graph, placement: Placement) -> None:
        """Lets the ranges of channels be observed where a grid per channel may be of use."""
        compute = _compute_layers(model, state)
        names = {id(layer): name for name, layer in model.named_sublayers()}
        values = {names[id(grid)]: placement.sites[site] for site, grid in grids_of(model).items()}
        values |= {name: sites[0].inputs[0] for name in compute if not placement.inputs.get(name) and (sites := graph.sites_of(name))[:1]}
        state.traced.values = values
        allowed = {name: layer for name, layer in compute.items() if self._may_be_per_channel(state, name)}
        fixed = {value for name, value in values.items() if not self._may_be_per_channel(state, name)}
        known = (*channel_layers(allowed), set(values.values()) - fixed, fixed, state.traced.folded)
        webs = [web for capped in ((), capped_values(graph)) for web in find_webs(graph, *known, capped)]
        axes = {value: web.axis for web in webs for value in web.labels}
        befores = {before_activation(graph, value): axes[value] for web in webs for value in web.entries}
        for name, value in values.items():
            axis = axes.get(value, befores.get(value))
            if axis is None or value in fixed:
                continue
            own = state.layers[name]
            if own.scheme.input is not None and not own.scheme.dynamic_input:
                own.scheme = replace(own.scheme, input=replace(own.scheme.input, per_channel=True))
                state.traced.channels[name] = axis

    def _may_be_per_channel(self, state: State, *owners: str) -> bool:
        for own in map(state.layers.__getitem__, owners):
            said = [change.per_channel_activation for change in own.changes if change.per_channel_activation is not None]
            is_known = isinstance(own.in_act_quantizer, StatisticsQuantizer) and own.in_act_quantizer.moving_rate is None
            if not is_known or not (said[-1] if said else self.config.per_channel_activations):
                return False
        return True

    def _place_grids(self, model: nn.Layer, state: State, graph: Graph, placement: Placement, changes: Mapping[str, Changes]) -> None:
        make_gridded(model, placement.sites)
        names = {id(layer): name for name, layer in model.named_sublayers()}
        for site, grid in grids_of(model).items():
            scheme = self.config.scheme(changes[site])
            # a dynamic layer that reads the tensor finds a grid of its own
            inward = None if scheme.input is None else replace(scheme.input, dynamic=False)
            own = LayerState(names[id(grid)], LayerScheme(input=inward), scheme, changes[site], site)
            configure(grid, own, state, _place(site))
            own.in_act_quantizer.nonnegative = graph.is_nonnegative(placement.sites[site])
            own.in_act_quantizer.useful_range = placement.useful.get(site)
        for name, sites in placement.inputs.items():
            state.layers[name].input_sites = sites


def _compute_layers(model: nn.Layer, state: State) -> dict[str, nn.Layer]:
    """The layers whose inputs are calibrated, by name."""
    return {
        name: layer
        for name, layer in model.named_sublayers(include_self=True)
        if PTQRegistry.is_simulated_quant_layer(layer) and name in state.layers and not state.layers[name].scheme.dynamic_input
    }


def _place(site: str) -> str:
    """What messages call the tensor at a site."""
    layer = site.removesuffix(CALL_INPUT)
    return f"activation '{site}'" if layer == site else f"layer '{layer}' input"
