"""What is done to a model once the shapes of its inputs are known, at the latest in the first batch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from paddle import nn

from quantizers.errors import TraceError

from ..config.config import PTQConfig
from ..config.keys import Changes
from ..graph.dataflow import Graph
from ..graph.tracing import trace
from ..layers.gridded import grids_of, make_gridded
from ..passes.fuse import check_folded, fuse_named, fuse_traced
from ..placement.overrides import place_overrides
from ..placement.plan import Placement, place_calls, place_full
from ..registry import PTQRegistry
from ..sites import CALL_INPUT
from ..util.messages import warn
from .attachment import configure
from .hooks import SummaryCache, batch_hook_of, remove_hooks
from .observation import Observation

__all__ = ["Preparation"]

# Their results must be on a grid for ONNX Runtime to compute them in int8; for transposed ones it has no int8 kernel, and others need none.
CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)


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

    def fuse_by_name(self, model: nn.Layer, fuse_list: Sequence[Sequence[str]], specs: Sequence[Any] | None) -> None:
        """Folds what the list names at once; it is held against the dataflow now where the inputs are known, else later."""
        graph = None
        if specs is not None:
            with contextlib.suppress(TraceError):  # the trace that follows warns of it
                graph = trace(model, specs)
        self.activated, self.folded = fuse_named(model, fuse_list, graph)
        self.fuse = False

    def __call__(self, model: nn.Layer, observation: Observation, specs: Sequence[Any] | None = None) -> None:
        """Traces and folds; without ``specs``, in the first batch, places the grids too.

        Raises:
            TraceError: the model cannot be traced, and folding or the placement needs it.
            FuseError: what was folded by name should not have been.
        """
        args, kwargs = (tuple(specs), {}) if specs is not None else observation.input_spec or ((), {})
        try:
            graph = observation.graph = trace(model, args, kwargs)
        except TraceError as error:
            self._refuse(error)
            observation.untraced = str(error)
            warn(f"{error}. Without it the engine cannot know which outputs feed an activation")
        else:
            check_folded(self.folded, graph)
            if self.fuse:
                self.folded = fuse_traced(model, graph, remove_hooks)
                norms = [norm for _, norm in self.folded]
                self.activated.difference_update(norms)
                if norms and self.config.placement == "full":
                    observation.graph = trace(model, args, kwargs)
        observation.folded = [norm for _, norm in self.folded]
        if specs is None:
            self.place(model, observation)

    def _refuse(self, error: TraceError) -> None:
        """A model without a graph is refused where the graph is indispensable."""
        if self.config.placement == "full":
            raise TraceError(f"{error}; placement 'full' needs the trace: use placement='compute'") from error
        if self.fuse:
            raise TraceError(f"{error}; pass fuse_list, or fuse=False") from error

    def place(self, model: nn.Layer, observation: Observation) -> None:
        """Turns sampling off for outputs that feed an activation, and tells quantizers what is never negative."""
        graph: Graph | None = observation.graph
        for name, layer in model.named_sublayers(include_self=True):
            config = getattr(layer, "_quant_config", None)
            if config is None:
                continue
            if name in self.activated or (graph is not None and graph.is_followed_by_activation(name)):
                config.enable_out_act_quantizer = False
            if graph is not None:
                config.in_act_quantizer.nonnegative = graph.has_nonnegative_input(name)
            if PTQRegistry.layer_info(layer).nonnegative:
                config.out_act_quantizer.nonnegative = True
        placement = Placement() if graph is None else self._plan(model, graph)
        placement, changes = place_overrides(model, self.config.overrides, placement)
        if graph is not None and placement.sites:
            self._place_grids(model, observation, graph, placement, changes)

    def _plan(self, model: nn.Layer, graph: Graph) -> Placement:
        is_fixed = not any(op.has_blocks for op in graph.ops)
        if self.config.placement == "compute" and (not is_fixed or "forward" in vars(model)):
            return Placement()  # layers that are called several times get one range, see `conversion`
        if not is_fixed:
            raise TraceError(
                f"{type(model).__name__} branches or loops on data, so its operations have no fixed places; use placement='compute'"
            )
        compute = _compute_layers(model)
        if self.config.placement == "compute":
            return place_calls(graph, compute)
        convolutions = [name for name, layer in compute.items() if isinstance(layer, CONVOLUTIONS)]
        return place_full(graph, compute, convolutions)

    def _place_grids(
        self, model: nn.Layer, observation: Observation, graph: Graph, placement: Placement, changes: Mapping[str, Changes]
    ) -> None:
        hook = batch_hook_of(model)
        compute = _compute_layers(model)
        make_gridded(model, placement.sites)
        for site, grid in grids_of(model).items():
            changed = self.config.overridden(changes[site])
            config = configure(grid, site, changed, observation, SummaryCache() if hook is None else hook.cache)
            config.enable_in_act_quantizer = True
            config.enable_out_act_quantizer = False
            config.in_act_quantizer.name = _place(site)
            config.in_act_quantizer.nonnegative = graph.is_nonnegative(placement.sites[site])
            config.in_act_quantizer.useful_range = placement.useful.get(site)
        for name, sites in placement.inputs.items():
            compute[name]._quant_config.input_sites = sites


def _compute_layers(model: nn.Layer) -> dict[str, nn.Layer]:
    """The layers that `convert` will swap, by name."""
    return {
        name: layer
        for name, layer in model.named_sublayers(include_self=True)
        if PTQRegistry.is_simulated_quant_layer(layer) and isinstance(getattr(layer, "_quant_config", None), PTQConfig)
    }


def _place(site: str) -> str:
    """What messages call the tensor at a site."""
    layer = site.removesuffix(CALL_INPUT)
    return f"activation '{site}'" if layer == site else f"layer '{layer}' input"
