"""What a quantized or calibrating model says of itself: widths of its grids and weights, what was observed, why a layer stayed float."""

from __future__ import annotations

from typing import Any

import numpy as np
from paddle import nn

from ...calibration.hooks import is_calibrating
from ...calibration.state import LayerState, has_data, state_of
from ...layers import QuantizedLayer
from ...layers.dynamic import DYNAMIC_BITS
from ...layers.gridded import GRIDS, grids_of, integer_activations_of
from ...registry import PTQRegistry
from ...sites import CALL_INPUT
from ...util.paddle_private import RNNBase

__all__ = ["Facts"]


class Facts:
    """Answers about one model.

    Attributes:
        layers: its layers by path; without the activation grids.
        grids: for every site of an activation grid that has data, its width in bits.
        on_integers: sites of activations that are computed on integers.
        shifted: sites of sums with a number that is part of the grid's zero point.
        folded: paths of the batch norms that were folded away.
        target: the runtime that the grids are for.
    """

    def __init__(self, model: nn.Layer) -> None:
        self.converted = not is_calibrating(model)
        self.layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if name.split(".")[0] != GRIDS}
        self.grids = {site: bits for site, grid in grids_of(model).items() if (bits := self._input_bits(grid)) is not None}
        self.on_integers = integer_activations_of(model)
        self.shifted = frozenset(site for site, grid in grids_of(model).items() if "input_shift" in grid._buffers)
        state = state_of(model)
        self.is_prepared = state is not None
        self.folded = frozenset(() if state is None else state.traced.folded)
        self.placement = "" if state is None else state.config.placement
        self.target = "any" if state is None else state.target
        self.left_float: frozenset[str] = frozenset() if state is None else state.left_float

    def weight_bits(self, name: str) -> int | None:
        """Width of the layer's integer weight; of the planned one while it is calibrated; ``None`` where it is float or not told."""
        layer = self.layers[name]
        if PTQRegistry.is_quantized_layer(layer):
            bits = getattr(layer, "_weight_bits", None)  # a twin of the user's may keep its weight as it likes
            return None if bits is None else int(bits)
        config = self._config(layer)
        if config is None or self.converted or not self.has_weight(name):
            return None
        return int(config.wt_quantizer.quant_bits) if config.input_sites or config.is_reached else None

    def has_weight(self, name: str) -> bool:
        """Whether the layer, or the one that it is the twin of, has a weight that can be stored as integers."""
        layer = self.layers[name]
        return PTQRegistry.is_registered_layer(layer) and bool(PTQRegistry.layer_info(layer).weight_names)

    def is_weight_only(self, name: str) -> bool:
        """Whether the layer's input is no activation."""
        return self.has_weight(name) and PTQRegistry.layer_info(self.layers[name]).weight_only

    def why_float_input(self, name: str) -> str:
        """Why a layer with integer weights takes its input as it comes, empty where that is not known to be so."""
        layer = self.layers[name]
        if not isinstance(layer, QuantizedLayer) or self.is_weight_only(name):
            return ""
        if layer.why_float_input or layer.input_qparams is not None or layer.dynamic is not None or self._config(layer) is not None:
            return layer.why_float_input
        return f"its weight alone is integers, of {self.weight_bits(name)} bits"

    def channel_factors(self, site: str) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """What the channels that a converted layer reads and computes are multiplied by, see `Row`."""
        twin = self.layers.get(site.split("@")[0])
        if not isinstance(twin, QuantizedLayer):
            return ((), ()) if self.converted else (None, None)
        return _listed(twin.input_factors), _listed(twin.result_factors)

    def is_recurrent(self, name: str) -> bool:
        """Whether the layer hands a state from step to step."""
        return isinstance(self.layers[name], (nn.RNNCellBase, RNNBase))

    def own_grid(self, name: str, site: str) -> int | None:
        """Width of the grid that the layer itself rounds its input to in this call; ``None`` where it takes it as it comes."""
        return self.grids.get(f"{site}{CALL_INPUT}", self._input_bits(self.layers[name]))

    def is_observed(self, name: str) -> bool:
        """Whether statistics of the layer's output were collected."""
        config = self._config(self.layers[name])
        return config is not None and config.scheme.output is not None and has_data(config.out_act_quantizer)

    def why_float(self, name: str) -> str:
        """Why a layer that could have an integer weight has none."""
        layer = self.layers[name]
        if PTQRegistry.is_quantized_layer(layer):
            return f"{type(layer).__name__} does not say how wide its weight is (attribute _weight_bits)"
        skipped = next((path for path in _ancestors(name) if getattr(self.layers.get(path), "skip_quant", False) is True), None)
        if skipped is not None:
            return f"skip_quant is set on {skipped or 'the model'}"
        if name in self.left_float:
            return "int8 would make it no faster (placement 'fastest', or leave_float of convert)"
        if not self.is_prepared:
            return "the model was not prepared by quantize"
        if self._config(layer) is not None:
            return "no calibration data reached it"
        if not PTQRegistry.layer_info(layer).weights_of(layer):
            return "its weight is no parameter but computed in every forward"
        return "the configuration (overrides) leaves it float"

    def why_unregistered(self, scope: str) -> str:
        """Why a convolution or product with a weight that is not in a layer of the registry stays float."""
        layer = self.layers.get(scope.split("@")[0])
        base = None if layer is None else PTQRegistry.overridden_base(layer)
        if base is not None:
            return f"{type(layer).__name__} has a forward of its own; PTQRegistry.register it"
        return "its weight is in no registered layer"

    def _input_bits(self, layer: nn.Layer) -> int | None:
        if PTQRegistry.is_quantized_layer(layer):
            if getattr(layer, "dynamic", None) is not None:
                return DYNAMIC_BITS
            return None if layer.input_qparams is None else int(layer.input_qparams.num_bits)
        config = self._config(layer)
        if config is None or config.input_sites or config.scheme.calibrated_input is None or not has_data(config.in_act_quantizer):
            return None
        return int(config.in_act_quantizer.quant_bits)

    @staticmethod
    def _config(layer: Any) -> LayerState | None:
        config = getattr(layer, "_quant_config", None)
        return config if isinstance(config, LayerState) else None


def _ancestors(name: str) -> list[str]:
    """The path of a layer, those of the layers around it, and the model's."""
    parts = name.split(".") if name else []
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _listed(factors: Any) -> tuple[float, ...]:
    return tuple(float(f"{factor:.8g}") for factor in factors) if np.ndim(factors) else ()
