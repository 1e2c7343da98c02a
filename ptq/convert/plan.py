"""The plan of a conversion: which layers get a twin, by which rules, and which of them round their own input."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from paddle import nn

from quantizers import BaseQuantizer, StatisticsQuantizer
from quantizers.errors import ConfigError, FuseError, ModelError, NoCalibrationDataError

from ..calibration.hooks import batch_hook_of, call_ranges_of
from ..calibration.state import LayerState, State, has_data
from ..config.config import check_quantizer
from ..layers.gridded import grids_of
from ..util.messages import warn
from .target import LeftOut, left_out_for

__all__ = ["Plan", "make_plan", "on_grids_of"]


@dataclass(frozen=True)
class Plan:
    """What will be done to one model.

    Attributes:
        layers: the layers that get a twin, by name.
        states: for every configured layer a state of its own, with the rules that count and copies of the statistics.
        on_grids: those of ``layers`` whose input is on a grid when it arrives, with the names of the layers that are these grids.
        unreached: layers that would get a twin, had data reached them.
        target: the runtime that the grids are for.
        left_out: what it has no use for.
    """

    layers: dict[str, nn.Layer]
    states: dict[str, LayerState]
    on_grids: dict[str, list[str]]
    unreached: list[str]
    target: str
    left_out: LeftOut

    def rounds_input(self, name: str) -> bool:
        """Whether the twin of that layer puts its input on a grid itself."""
        return name not in self.on_grids and name not in self.left_out.inputs

    def warn(self) -> None:
        """Tells what stays float, and what shares a range without need."""
        for name, layer in self.layers.items():
            if name not in self.on_grids and not isinstance(layer, nn.RNNCellBase):  # whose calls are the steps of one sequence
                _warn_of_merged_range(name, call_ranges_of(layer))
        if self.unreached:
            warn(f"left float, since no calibration data reached them: {', '.join(self.unreached)}")


def make_plan(
    model: nn.Layer,
    state: State,
    activation: BaseQuantizer | None,
    weight: BaseQuantizer | None,
    target: str | None = None,
    leave_float: Collection[str] = (),
) -> Plan:
    """Plans the conversion of a calibrated model, which is left as it is.

    Args:
        model: from `ImperativePTQ.quantize`.
        state: its state.
        activation, weight: rules to use on what was collected, instead of the configured ones.
        target: the runtime that the grids are for; that of the config when ``None``.
        leave_float: layers that stay float, with the operations that follow them.

    Raises:
        ModelError: nothing in the model can be quantized.
        NoCalibrationDataError: no data reached any layer.
        FuseError: batch norms were to be folded and are not.
        ConfigError: a rule cannot use what was collected.
    """
    for role, quantizer in (("activation_quantizer", activation), ("weight_quantizer", weight)):
        if quantizer is not None:
            check_quantizer(role, quantizer)
    target = state.config.target if target is None else target
    left_out = left_out_for(model, state, target, leave_float)
    wanted = state.layers.keys() - left_out.grids
    layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if name in wanted}
    _check_data(model, state, layers)
    layers = {name: layer for name, layer in layers.items() if name not in left_out.layers}
    _check_prepared(model)
    states = {name: _with_rules(state.layers[name], activation, weight) for name in layers}
    reached = {name: layers[name] for name, own in states.items() if own.is_reached}
    unreached = [name for name, own in states.items() if own.is_wanted and name not in reached]
    return Plan(reached, states, on_grids_of(model, states, reached), unreached, target, left_out)


def on_grids_of(model: nn.Layer, states: Mapping[str, LayerState], reached: Mapping[str, nn.Layer]) -> dict[str, list[str]]:
    """The layers whose input is on a grid when it arrives, with the names of the layers that are these grids."""
    names = {id(layer): name for name, layer in model.named_sublayers()}
    names_of = {site: names[id(grid)] for site, grid in grids_of(model).items()}
    found = {name: [names_of[site] for site in states[name].input_sites] for name in reached if states[name].input_sites}
    # a grid that no data reached stays out, and the layer keeps one of its own, unless its input is taken as it comes
    return {name: grids for name, grids in found.items() if all(grid in reached for grid in grids)}


def _with_rules(own: LayerState, activation: BaseQuantizer | None, weight: BaseQuantizer | None) -> LayerState:
    """A copy of a layer's state, its rules replaced and its statistics kept."""
    # copies of the quantizers too: an error later on must leave the calibrated model as it was
    own = copy.deepcopy(own)
    # what overrides say of this layer still holds
    if activation is not None:
        rule = copy.deepcopy(activation)
        for change in own.changes:
            rule = change.activation(rule)
        own.in_act_quantizer = _adopted(rule, own.in_act_quantizer)
        own.out_act_quantizer = _adopted(rule, own.out_act_quantizer)
    if weight is not None:
        rule = copy.deepcopy(weight)
        for change in own.changes:
            rule = change.weight(rule)
        previous = own.wt_quantizer
        rule.name, rule.quant_axis, rule.is_weight = previous.name, previous.quant_axis, True
        own.wt_quantizer = rule
    return own


def _adopted(rule: BaseQuantizer, calibrated: BaseQuantizer) -> BaseQuantizer:
    """A copy of ``rule`` on the statistics of ``calibrated``."""
    if not (isinstance(rule, StatisticsQuantizer) and isinstance(calibrated, StatisticsQuantizer)):
        raise ConfigError(f"{type(rule).__name__} cannot use what {type(calibrated).__name__} collected: both must be StatisticsQuantizers")
    rule = copy.deepcopy(rule)
    rule.name, rule.nonnegative, rule.useful_range = calibrated.name, calibrated.nonnegative, calibrated.useful_range
    rule.adopt(calibrated.statistics)
    rule.sampled = has_data(calibrated)
    return rule


def _warn_of_merged_range(name: str, ranges: Sequence[float]) -> None:
    used = [value for value in ranges if value > 0]
    if len(used) > 1:
        gap = math.log2(max(used) / min(used))
        warn(
            f"layer '{name}' has {len(ranges)} calls in one forward, without places that the trace could tell apart: all "
            f"share one range, which costs the call of the smallest input {gap:.1f} bits"
        )


def _check_prepared(model: nn.Layer) -> None:
    hook = batch_hook_of(model)
    if hook is None or hook.prepare is None:
        return
    missing = "the model itself was never called, only parts of it or its forward, so it could not be traced"
    if getattr(hook.prepare, "fuse", False):
        raise FuseError(f"{missing} and its batch norms are not folded; call the model, or pass input_spec or fuse_list to quantize")
    warn(f"{missing}; pass input_spec to quantize to have it traced at once")


def _check_data(model: nn.Layer, state: State, layers: Mapping[str, nn.Layer]) -> None:
    wanted = [name for name in layers if state.layers[name].is_wanted]
    if not wanted:
        raise ModelError(f"{type(model).__name__} has no layer that can be quantized (convolution, Linear, Embedding, recurrent layer)")
    if any(state.layers[name].is_reached for name in wanted):
        return
    raise NoCalibrationDataError(
        f"no calibration data reached any of the {len(wanted)} layers to quantize (first: '{wanted[0]}'; "
        f"the model was called {state.seen.batches} times); "
        "run a few batches through the model that quantize returned, then convert"
    )
