"""From a calibrated model to a quantized one: thresholds, twins, and what stayed float."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from paddle import nn

from quantizers import AutoQuantizer, BaseQuantizer, QParams, StatisticsQuantizer
from quantizers.errors import ConfigError, FuseError, ModelError, NoCalibrationDataError, NonFiniteError

from ..calibration.hooks import batch_hook_of, call_ranges_of, observation_of, remove_hooks
from ..config.config import PTQConfig, check_quantizer
from ..layers import ActivationGrid, GridInput, QuantizedActivation, QuantizedLayer
from ..layers.gridded import grids_of, is_gridded, set_gridded_class
from ..passes.replace import replace_layers
from ..registry import PTQRegistry
from ..util.messages import warn
from .choose_ranges import RangeChoice
from .ties import settle_float_uses, tie_weights

__all__ = ["as_float", "convert_model"]


def convert_model(model: nn.Layer, activation_quantizer: BaseQuantizer | None, weight_quantizer: BaseQuantizer | None) -> nn.Layer:
    """Converts a calibrated model in place and returns it, or its twin when the model itself is a quantized layer.

    Nothing is changed before every threshold is known, so that an error leaves the calibrated model as it was.
    """
    for role, quantizer in (("activation_quantizer", activation_quantizer), ("weight_quantizer", weight_quantizer)):
        if quantizer is not None:
            check_quantizer(role, quantizer)
    configured = {
        name: layer
        for name, layer in model.named_sublayers(include_self=True)
        if isinstance(getattr(layer, "_quant_config", None), PTQConfig)
    }
    _check_data(model, configured)
    _check_prepared(model)
    configs = {name: _with_quantizers(layer._quant_config, activation_quantizer, weight_quantizer) for name, layer in configured.items()}
    reached = [name for name, config in configs.items() if _is_reached(configured[name], config)]
    on_grids = _on_grids(model, configs, reached)
    for name in reached:
        if name not in on_grids and not isinstance(configured[name], nn.RNNCellBase):  # whose calls are the steps of one sequence
            _warn_of_merged_range(name, call_ranges_of(configured[name]))
    choice = _range_choice(model, {name: configs[name] for name in reached}, on_grids)
    twins = {name: make_twin(configured[name], configs[name], has_own_grid=name not in on_grids) for name in reached}
    for config in configs.values():
        if config.enable_out_act_quantizer and has_data(config.out_act_quantizer):
            config.out_act_quantizer.cal_thresholds()
    replaced = {configured[name]: twin for name, twin in twins.items()}
    names = {configured[name]: name for name in twins}
    tie_weights(replaced, names)
    converted = _swap(model, configured, configs, twins)
    if choice is not None:
        choice.select(converted, twins)
    if is_gridded(converted):
        _round_biases(twins, on_grids)
    settle_float_uses(converted, replaced, names)
    unreached = [name for name, config in configs.items() if _is_wanted(configured[name], config) and name not in twins]
    if unreached:
        warn(f"left float, since no calibration data reached them: {', '.join(unreached)}")
    return converted


def _is_wanted(layer: nn.Layer, config: PTQConfig) -> bool:
    """Whether a configured layer gets a twin if it is used at all."""
    return config.enable_in_act_quantizer or PTQRegistry.is_weight_only_layer(layer)


def _is_reached(layer: nn.Layer, config: PTQConfig) -> bool:
    """Whether the layer gets a twin: its input was seen, or, where that is no activation, its output, if that is looked at."""
    if config.enable_in_act_quantizer:
        return has_data(config.in_act_quantizer)
    return PTQRegistry.is_weight_only_layer(layer) and (has_data(config.out_act_quantizer) or not config.enable_out_act_quantizer)


def _on_grids(model: nn.Layer, configs: Mapping[str, PTQConfig], reached: Collection[str]) -> dict[str, list[str]]:
    """The compute layers whose input is on a grid when it arrives, with the names of the layers that are these grids."""
    names = {id(layer): name for name, layer in model.named_sublayers()}
    names_of = {site: names[id(grid)] for site, grid in grids_of(model).items()}
    found = {name: [names_of[site] for site in configs[name].input_sites] for name in reached if configs[name].input_sites}
    # a grid that no data reached stays out, and the layer keeps one of its own
    return {name: grids for name, grids in found.items() if all(grid in reached for grid in grids)}


def _round_biases(twins: Mapping[str, GridInput], on_grids: Mapping[str, list[str]]) -> None:
    """Biases as an int8 runtime has them; those of a layer whose inputs have several scales stay float."""
    for name, twin in twins.items():
        if twin.input_qparams is None and name not in on_grids:
            continue  # the input is no activation
        grids = [twins[grid] for grid in on_grids[name]] if name in on_grids else [twin]
        scales = {float(grid.input_scale) for grid in grids}
        if isinstance(twin, QuantizedLayer) and len(scales) == 1:
            twin.round_bias(scales.pop())


def _warn_of_merged_range(name: str, ranges: Sequence[float]) -> None:
    used = [value for value in ranges if value > 0]
    if len(used) > 1:
        gap = math.log2(max(used) / min(used))
        warn(
            f"layer '{name}' has {len(ranges)} calls in one forward, without places that the trace could tell apart: all "
            f"share one range, which costs the call of the smallest input {gap:.1f} bits"
        )


def _swap(
    model: nn.Layer, configured: Mapping[str, nn.Layer], configs: Mapping[str, PTQConfig], twins: Mapping[str, GridInput]
) -> nn.Layer:
    for name, config in configs.items():
        configured[name]._quant_config = config
        if name in twins:
            twins[name]._quant_config = config
    for layer in [*model.sublayers(include_self=True), *twins.values()]:
        remove_hooks(layer)
    observation = observation_of(model)
    converted = replace_layers(model, {configured[name]: twin for name, twin in twins.items()})
    if converted is not model and is_gridded(model):  # a model that is one layer: its twin takes over the grids
        set_gridded_class(converted)
    if observation is not None:
        observation.float_layers = [(configured[name], twin) for name, twin in twins.items()]
    object.__setattr__(converted, "_ptq_observation", observation)
    return converted


@contextlib.contextmanager
def as_float(model: nn.Layer) -> Iterator[nn.Layer]:
    """While entered, a converted model has its float layers again, batch norms folded.

    Raises:
        ModelError: they are not known: the model is a copy, or was loaded.
    """
    observation = observation_of(model)
    pairs = [] if observation is None else observation.float_layers
    if not pairs:
        raise ModelError("the float layers of this converted model are not known (it is a copy): use the model that convert returned")
    baseline = replace_layers(model, {twin: layer for layer, twin in pairs})
    object.__setattr__(baseline, "_ptq_observation", observation)
    try:
        yield baseline
    finally:
        replace_layers(baseline, dict(pairs))


def _range_choice(model: nn.Layer, configs: Mapping[str, PTQConfig], on_grids: Mapping[str, list[str]]) -> RangeChoice | None:
    """The choice among candidate ranges, measured on the float model; ``None`` when no quantizer leaves a choice."""
    quantizers = {
        name: config.in_act_quantizer
        for name, config in configs.items()
        if isinstance(config.in_act_quantizer, AutoQuantizer) and config.enable_in_act_quantizer and name not in on_grids
    }
    if not quantizers:
        return None
    choice = RangeChoice(quantizers, observation_of(model), on_grids)
    choice.measure(model)
    return choice


def make_twin(layer: nn.Layer, config: PTQConfig, *, has_own_grid: bool = True) -> GridInput:
    """The quantized twin of one layer, by the quantizers of its config; without a grid of its own where its input is on one."""
    if config.in_act_quantizer.refused:
        raise NonFiniteError(config.in_act_quantizer.refused)
    grid = None
    if has_own_grid and config.enable_in_act_quantizer:
        config.in_act_quantizer.cal_thresholds()
        grid = _input_grid(config.in_act_quantizer)
    if grid is not None and isinstance(layer, ActivationGrid):
        return QuantizedActivation.from_grid(grid)
    config.wt_quantizer.reset()
    weights = tuple(PTQRegistry.layer_info(layer).weights_of(layer).values())
    config.wt_quantizer.sample_data(layer, weights)
    config.wt_quantizer.cal_thresholds()
    grids = _grids(config.wt_quantizer, len(weights))
    twin: QuantizedLayer = PTQRegistry.twin_class(layer).from_float(layer, grid, *grids)  # type: ignore[attr-defined]
    return twin


def has_data(quantizer: BaseQuantizer) -> bool:
    """Whether calibration data reached the quantizer."""
    return quantizer.sampled or bool(getattr(quantizer, "statistics", None))


def _input_grid(quantizer: BaseQuantizer) -> QParams:
    (grid,) = _grids(quantizer, 1)
    if grid.scale.ndim:
        raise ConfigError(f"{quantizer.where()}: {type(quantizer).__name__} gives a range per channel; an input needs one range")
    return grid


def _grids(quantizer: BaseQuantizer, tensors: int) -> list[QParams]:
    if len(quantizer.qparams) != tensors:
        count = "one tensor" if tensors == 1 else f"{tensors} tensors"
        raise ConfigError(
            f"{type(quantizer).__name__} has {len(quantizer.qparams)} thresholds for {count}; cal_thresholds must set one per tensor"
        )
    return quantizer.qparams


def _with_quantizers(config: PTQConfig, activation: BaseQuantizer | None, weight: BaseQuantizer | None) -> PTQConfig:
    """A copy of the config, its rules replaced and its statistics kept."""
    # copies of the quantizers too: an error later on must leave the calibrated model as it was
    config = copy.deepcopy(config)
    # what overrides say of this layer still holds
    if activation is not None:
        rule = copy.deepcopy(activation)
        for change in config.changes:
            rule = change.activation(rule)
        config.in_act_quantizer = adopt(rule, config.in_act_quantizer)
        config.out_act_quantizer = adopt(rule, config.out_act_quantizer)
    if weight is not None:
        rule = copy.deepcopy(weight)
        for change in config.changes:
            rule = change.weight(rule)
        previous = config.wt_quantizer
        rule.name, rule.quant_axis, rule.is_weight = previous.name, previous.quant_axis, True
        config.wt_quantizer = rule
    return config


def adopt(rule: BaseQuantizer, calibrated: BaseQuantizer) -> BaseQuantizer:
    """A copy of ``rule`` on the statistics of ``calibrated``."""
    if not (isinstance(rule, StatisticsQuantizer) and isinstance(calibrated, StatisticsQuantizer)):
        raise ConfigError(f"{type(rule).__name__} cannot use what {type(calibrated).__name__} collected: both must be StatisticsQuantizers")
    rule = copy.deepcopy(rule)
    rule.name, rule.nonnegative, rule.useful_range = calibrated.name, calibrated.nonnegative, calibrated.useful_range
    rule.adopt(calibrated.statistics)
    return rule


def _check_prepared(model: nn.Layer) -> None:
    hook = batch_hook_of(model)
    if hook is None or hook.prepare is None:
        return
    missing = "the model itself was never called, only parts of it or its forward, so it could not be traced"
    if getattr(hook.prepare, "fuse", False):
        raise FuseError(f"{missing} and its batch norms are not folded; call the model, or pass input_spec or fuse_list to quantize")
    warn(f"{missing}; pass input_spec to quantize to have it traced at once")


def _check_data(model: nn.Layer, configured: dict[str, nn.Layer]) -> None:
    observation = observation_of(model)
    wanted = {name: layer for name, layer in configured.items() if _is_wanted(layer, layer._quant_config)}
    if not wanted:
        raise ModelError(f"{type(model).__name__} has no layer that can be quantized (convolution, Linear, Embedding, recurrent layer)")
    if any(_is_reached(layer, layer._quant_config) for layer in wanted.values()):
        return
    batches = observation.batches if observation is not None else 0
    raise NoCalibrationDataError(
        f"no calibration data reached any of the {len(wanted)} layers to quantize (first: '{next(iter(wanted))}'; "
        f"the model was called {batches} times); "
        "run a few batches through the model that quantize returned, then convert"
    )
