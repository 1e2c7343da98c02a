"""The activation grids of a conversion whose channels all share one range, by the values of the traced graph."""

from __future__ import annotations

from collections.abc import Mapping

from paddle import nn

from ..calibration.state import State
from ..layers import GridInput, QuantizedActivation
from ..layers.gridded import grids_of
from ..placement.plan import Plan as Places
from ..placement.targets import Target

__all__ = ["SingleGrids"]


class SingleGrids:
    """The grids of 8 bits that a runtime can read as plain integers.

    Args:
        model: the calibrated model.
        state: its state, with a graph.
        twins: what its layers, grids included, become, by name.
        target: the runtime that the grids are for.
    """

    def __init__(self, model: nn.Layer, state: State, twins: Mapping[str, GridInput], target: Target) -> None:
        names = {id(layer): name for name, layer in model.named_sublayers()}
        self._twins = {site: twins[names[id(grid)]] for site, grid in grids_of(model).items() if names[id(grid)] in twins}
        graph = state.traced.graph
        compute = [name for name, own in state.layers.items() if own.is_wanted]
        self._places = None if graph is None else Places(graph, compute, target)

    def site(self, value: int) -> str:
        """The name of the place that computes a value; empty when it has none."""
        return "" if self._places is None else self._places.site_of.get(value, "")

    def of(self, value: int) -> QuantizedActivation | None:
        """The grid of a value at its own place, when all its channels share one range."""
        twin = self._twins.get(self.site(value))
        if not isinstance(twin, QuantizedActivation) or twin.input_qparams is None or twin.input_qparams.num_bits != 8:
            return None
        return twin if not {"input_factor", "output_factor"} & set(twin._buffers) else None

    def reaching(self, value: int) -> QuantizedActivation | None:
        """The same, also where the value is only moved behind its grid."""
        return None if self._places is None else self.of(self._places.origin(value))
