"""From a calibrated model to a quantized one."""

from __future__ import annotations

from collections.abc import Collection

from paddle import nn

from quantizers import BaseQuantizer
from quantizers.errors import ModelError

from ..calibration.state import state_of
from ..layers.gridded import is_gridded
from ..placement.targets import TARGETS
from .apply import apply, trial_of
from .biases import round_biases
from .channels import set_channel_grids
from .choose_ranges import choose_ranges
from .integer_activations import integer_activations
from .plan import make_plan
from .shifts import settle_shifts
from .single_grids import SingleGrids
from .ties import tie_weights, warn_of_float_uses
from .twins import make_twins
from .weights import Rounding, round_to_nearest

__all__ = ["convert_model", "release"]


def convert_model(
    model: nn.Layer,
    activation_quantizer: BaseQuantizer | None = None,
    weight_quantizer: BaseQuantizer | None = None,
    *,
    keep_float: bool = True,
    rounding: Rounding = round_to_nearest,
    target: str | None = None,
    leave_float: Collection[str] = (),
) -> nn.Layer:
    """Converts a calibrated model in place and returns it, or its twin when the model itself is a quantized layer.

    Nothing of the model is changed before everything that may fail has been done, so that an error, or a warning that is one, leaves the
    calibrated model as it was.  See `ImperativePTQ.convert`.
    """
    state = state_of(model)
    if state is None:
        raise ModelError("convert needs the model that ImperativePTQ.quantize returned, not a part of it")
    plan = make_plan(model, state, activation_quantizer, weight_quantizer, target, leave_float)
    twins = make_twins(plan, rounding)
    replaced = {layer: twins[name] for name, layer in plan.layers.items()}
    names = {layer: name for name, layer in plan.layers.items()}
    tie_weights(replaced, names)
    channels = set_channel_grids(state, plan, twins, rounding)
    trial = trial_of(model, plan.layers, twins)
    warn_of_float_uses(trial, replaced, names)
    choose_ranges(model, trial, state.seen, plan, twins, channels.done, channels.scaled)
    grids = SingleGrids(model, state, twins, TARGETS[plan.target])
    settle_shifts(model, state, grids, twins)
    on_integers = integer_activations(state, grids, TARGETS[plan.target])
    if is_gridded(model):
        round_biases(twins, plan.on_grids)
    plan.warn()
    converted = apply(model, state, plan, twins, on_integers, keep_float)
    state.scaled_sites = channels.sites
    return converted


def release(model: nn.Layer) -> None:
    """Lets go what a converted model keeps for its first save: the float weights, and samples of the calibration data.

    The answers stay the same.  A save afterwards compares answers on random inputs instead of a calibration batch, and says so;
    ``float_baseline`` is no longer possible.

    Raises:
        ModelError: the model is not one that `ImperativePTQ.convert` returned.
    """
    state = state_of(model) if isinstance(model, nn.Layer) else None
    if state is None or state.converted is None:
        raise ModelError("release needs the model that ImperativePTQ.convert returned")
    state.release()
