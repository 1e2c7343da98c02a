"""What to quantize with: quantizers for activations and weights, and which tensors get a grid."""

from __future__ import annotations

import copy
from typing import Any

from quantizers import BaseQuantizer, KLQuantizer, PerChannelAbsmaxQuantizer, PerChannelQuantizer
from quantizers.errors import ConfigError

__all__ = ["PLACEMENTS", "PTQConfig", "default_ptq_config"]

PLACEMENTS = ("compute", "full")


class PTQConfig:
    """Quantizers and settings, copied to every layer that `ImperativePTQ.quantize` prepares.

    Args:
        activation_quantizer: any `BaseQuantizer` instance; ``KLQuantizer()`` when ``None``.
        weight_quantizer: any `BaseQuantizer` instance; ``PerChannelAbsmaxQuantizer()`` when ``None``.
        placement: which tensors get a grid.  ``"compute"``: weights and inputs of compute layers (convolutions, Linear);
            additions, pools and the model's output stay float.  ``"full"``: all that an int8 runtime needs to stay in int8 between
            them, functional operations, inputs and outputs included; less accurate, and what makes an export fast.

    Attributes:
        in_act_quantizer, out_act_quantizer, wt_quantizer: this layer's own quantizers.
        enable_in_act_quantizer: whether the layer's input is sampled (compute layers).
        enable_out_act_quantizer: whether the layer's output is sampled.
        input_sites: with placement ``full``, the sites whose grids the layer's input lies on; empty when it has a grid of its own.
        quant_hook_handle: handle of the calibration hook, ``None`` when no hook is attached.

    Raises:
        ConfigError: a quantizer is not a `BaseQuantizer` instance, or the placement is unknown.
    """

    def __init__(
        self,
        activation_quantizer: BaseQuantizer | None = None,
        weight_quantizer: BaseQuantizer | None = None,
        *,
        placement: str = "compute",
    ) -> None:
        activation_quantizer = KLQuantizer() if activation_quantizer is None else activation_quantizer
        weight_quantizer = PerChannelAbsmaxQuantizer() if weight_quantizer is None else weight_quantizer
        for role, quantizer in (("activation_quantizer", activation_quantizer), ("weight_quantizer", weight_quantizer)):
            check_quantizer(role, quantizer)
        if isinstance(activation_quantizer, PerChannelQuantizer):
            raise ConfigError(f"{type(activation_quantizer).__name__} is for weights: an activation needs one range, not one per channel")
        if placement not in PLACEMENTS:
            raise ConfigError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
        self.in_act_quantizer = copy.deepcopy(activation_quantizer)
        self.out_act_quantizer = copy.deepcopy(activation_quantizer)
        self.wt_quantizer = copy.deepcopy(weight_quantizer)
        self.placement = placement
        self.enable_in_act_quantizer = False
        self.enable_out_act_quantizer = False
        self.input_sites: list[str] = []
        self.quant_hook_handle: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "quant_hook_handle": None}  # a copy's handle would remove the hook of the original


def check_quantizer(role: str, quantizer: object) -> None:
    """Raises `ConfigError` unless ``quantizer`` is an instance of a `BaseQuantizer` class."""
    if not isinstance(quantizer, BaseQuantizer):
        advice = "pass an instance, not the class" if isinstance(quantizer, type) else "derive it from quantizers.BaseQuantizer"
        raise ConfigError(f"{role} must be a BaseQuantizer instance, got {quantizer!r}; {advice}")


default_ptq_config = PTQConfig()
