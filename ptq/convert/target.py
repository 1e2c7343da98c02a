"""What a conversion for one target leaves out of the grids that calibration observed, which are those that serve every target."""

from __future__ import annotations

from dataclasses import dataclass

from paddle import nn

from ..calibration.state import State
from ..config.config import check_target
from ..layers.gridded import grids_of
from ..placement.plan import place_full
from ..placement.targets import TARGETS
from ..registry import PTQRegistry

__all__ = ["LeftOut", "left_out_for"]


@dataclass(frozen=True)
class LeftOut:
    """What the target has no use for.

    Attributes:
        grids: names of the activation grids that no tensor will be put on.
        inputs: compute layers that the runtime computes in float, whose inputs are taken as they come.
    """

    grids: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()


def left_out_for(model: nn.Layer, state: State, target: str) -> LeftOut:
    """Plans it for a calibrated model.

    Raises:
        ConfigError: there is no such target, or the model's placement sets no grids for it.
    """
    check_target(target, state.config.placement)
    graph = state.traced.graph
    if graph is None or target == "any":
        return LeftOut()
    needs = TARGETS[target]
    layers = dict(model.named_sublayers(include_self=True))
    names = {id(layer): name for name, layer in layers.items()}
    compute = {name: layer for name, layer in layers.items() if name in state.layers and PTQRegistry.is_simulated_quant_layer(layer)}
    wanted = place_full(graph, compute, needs).sites
    grids = frozenset(names[id(grid)] for site, grid in grids_of(model).items() if site not in wanted)
    return LeftOut(grids, frozenset(name for name, layer in compute.items() if isinstance(layer, needs.floats)))
