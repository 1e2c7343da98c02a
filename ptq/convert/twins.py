"""The twins of a plan: made of float layers, integer weights and the grids of inputs; the model is not touched."""

from __future__ import annotations

from typing import Any

from paddle import nn

from quantizers import BaseQuantizer, QParams
from quantizers.errors import ConfigError, NonFiniteError

from ..calibration.hooks import remove_hooks
from ..calibration.state import LayerState, has_data
from ..layers import ActivationGrid, GridInput, IntegerWeight, QuantizedActivation
from ..registry import PTQRegistry
from .plan import Plan
from .weights import Rounding, grids_by_rule, integer_weights

__all__ = ["make_twins"]


def make_twins(plan: Plan, rounding: Rounding) -> dict[str, GridInput]:
    """The quantized twin of every layer of the plan, by name, and the thresholds of all that was observed.

    Raises:
        NonFiniteError: a tensor held NaN or Inf, or a weight does.
        ConfigError: a rule gives no grid for a tensor, or one per channel for an input.
    """
    twins = {name: _twin(layer, plan.states[name], plan.rounds_input(name), rounding) for name, layer in plan.layers.items()}
    for own in plan.states.values():
        if own.scheme.output is not None and has_data(own.out_act_quantizer):
            own.out_act_quantizer.cal_thresholds()
    return twins


def _twin(layer: nn.Layer, own: LayerState, has_own_grid: bool, rounding: Rounding) -> GridInput:
    if own.in_act_quantizer.refused:
        raise NonFiniteError(own.in_act_quantizer.refused)
    grid = None
    if has_own_grid and own.scheme.calibrated_input is not None:
        own.in_act_quantizer.cal_thresholds()
        grid = _input_grid(own.in_act_quantizer)
    twin: Any
    if grid is not None and isinstance(layer, ActivationGrid):
        twin = QuantizedActivation.from_grid(grid)
    else:
        weights: tuple[IntegerWeight, ...] = integer_weights(layer, own, rounding)
        twin = PTQRegistry.twin_class(layer).from_float(layer, grid, *weights)  # type: ignore[attr-defined]
        if own.scheme.dynamic_input:
            twin.set_dynamic_unless_slow(layer, own.scheme.dynamic_input)
    twin._quant_config = own
    remove_hooks(twin)  # it took over all that the float layer has
    result: GridInput = twin
    return result


def _input_grid(quantizer: BaseQuantizer) -> QParams:
    (grid,) = grids_by_rule(quantizer, 1)
    if grid.scale.ndim:
        raise ConfigError(f"{quantizer.where()}: {type(quantizer).__name__} gives a range per channel; an input needs one range")
    return grid
