"""What a conversion leaves out of what calibration observed: grids that the target has no use for, and layers that are to stay float."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from paddle import nn

from quantizers.errors import ConfigError

from ..calibration.state import State
from ..config.config import check_target
from ..layers.gridded import grids_of
from ..placement.plan import place_full
from ..placement.targets import TARGETS
from ..placement.units import Units
from ..registry import PTQRegistry

__all__ = ["LeftOut", "left_out_for"]


@dataclass(frozen=True)
class LeftOut:
    """What is of no use.

    Attributes:
        grids: names of the activation grids that no tensor will be put on.
        inputs: compute layers that the runtime computes in float, whose inputs are taken as they come.
        layers: compute layers that stay float.
    """

    grids: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    layers: frozenset[str] = frozenset()


def left_out_for(model: nn.Layer, state: State, target: str, leave_float: Collection[str] = ()) -> LeftOut:
    """Plans it for a calibrated model.

    Args:
        model: from `ImperativePTQ.quantize`.
        state: its state.
        target: the runtime that the grids are for.
        leave_float: names of compute layers that stay float, with the operations that follow them.

    Raises:
        ConfigError: there is no such target, the model's placement sets no grids for it, or what is to stay float is no such layer.
    """
    check_target(target, state.config.placement)
    graph = state.traced.graph
    layers = dict(model.named_sublayers(include_self=True))
    compute = {name: layer for name, layer in layers.items() if name in state.layers and PTQRegistry.is_simulated_quant_layer(layer)}
    _check_layers(leave_float, compute, state)
    if graph is None or (target == "any" and not leave_float):
        return LeftOut()
    needs = TARGETS[target]
    names = {id(layer): name for name, layer in layers.items()}
    floats = Units(graph, compute).values_of(leave_float) if leave_float else ()
    wanted = place_full(graph, compute, needs, floats).sites
    grids = frozenset(names[id(grid)] for site, grid in grids_of(model).items() if site not in wanted)
    inputs = frozenset(name for name, layer in compute.items() if isinstance(layer, needs.floats))
    return LeftOut(grids, inputs, frozenset(leave_float))


def _check_layers(leave_float: Collection[str], compute: Collection[str], state: State) -> None:
    unknown = sorted(name for name in leave_float if name not in compute)
    if isinstance(leave_float, str) or unknown:
        shown = repr(leave_float) if isinstance(leave_float, str) else ", ".join(map(repr, unknown[:5]))
        raise ConfigError(f"leave_float must list names of calibrated convolutions and Linears, got {shown}")
    if leave_float and state.config.placement != "full":
        raise ConfigError(f"leave_float needs placement 'full', the model was calibrated with {state.config.placement!r}; use overrides")
