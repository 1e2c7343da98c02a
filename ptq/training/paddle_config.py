"""What a `paddle.quantization.QuantConfig` says, in this project's words."""

from __future__ import annotations

import copy
from typing import Any

from paddle import nn
from paddle.quantization import QuantConfig
from paddle.quantization.quanters import FakeQuanterWithAbsMaxObserver

from quantizers import AbsmaxQuantizer
from quantizers.errors import ConfigError

from ..config.config import PTQConfig
from ..config.overrides import QuantOverride
from ..registry import PTQRegistry
from .config import QATConfig

__all__ = ["from_paddle"]


def from_paddle(config: QuantConfig, model: nn.Layer) -> QATConfig:
    """The settings of a `QuantConfig` for one model: a layer without a quanter for its weight and its input stays float.

    `FakeQuanterWithAbsMaxObserver` becomes a moving average with its rate and width; other quanters are used as they are.

    Raises:
        ConfigError: what layers get differs in more than widths, or a layer has a quanter for one of weight and input only.
    """
    config = _own_copy(config)
    config._specify(model)
    layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if _has_weights(layer)}
    chosen = {name: config._get_config_by_layer(layer) if name else config.global_config for name, layer in layers.items()}
    used = {name: single for name, single in chosen.items() if single is not None and (single.activation or single.weight)}
    for name, single in used.items():
        if single.activation is None or single.weight is None:
            raise ConfigError(
                f"QuantConfig: layer '{name}' has a quanter for its {'weight' if single.weight else 'activation'} only; give it both, or "
                "none to leave it float"
            )
    overrides: dict[Any, QuantOverride | None] = dict.fromkeys(name for name in layers if name not in used)
    if not used:
        return QATConfig(overrides=overrides, fuse=None)
    first = next(iter(used.values()))
    made = QATConfig(
        "moving_average_abs_max",
        "moving_average_abs_max",
        per_channel=False,
        fuse=None,
        moving_rate=_setting(first.activation, "moving_rate", 0.9),
        act_quantize_func=None if _is_known(first.activation) else first.activation,
        weight_quantize_func=None if _is_known(first.weight) else first.weight,
    )
    for name, single in used.items():
        if (type(single.activation), type(single.weight)) != (type(first.activation), type(first.weight)):
            raise ConfigError(f"QuantConfig: '{name}' has other quanters than '{next(iter(used))}'; widths may differ, kinds may not")
        overrides[name] = QuantOverride(_bits(single.activation), _bits(single.weight))
    rules = AbsmaxQuantizer(_bits(first.activation)), AbsmaxQuantizer(_bits(first.weight))
    return made.with_ptq(PTQConfig(*rules, per_channel_activations=False, overrides=overrides))


def _own_copy(config: QuantConfig) -> QuantConfig:
    """A copy to note the model's layers in; raises ``ConfigError`` for what only Paddle's own engine can follow."""
    if config._customized_qat_layer_mapping or config.customized_leaves:
        raise ConfigError("QuantConfig: add_qat_layer_mapping and add_customized_leaf are not offered; PTQRegistry.register layers instead")
    own = copy.copy(config)
    own._layer2config = dict(config._layer2config)
    return own


def _has_weights(layer: nn.Layer) -> bool:
    return PTQRegistry.is_simulated_quant_layer(layer) or PTQRegistry.is_weight_only_layer(layer)


def _is_known(factory: Any) -> bool:
    return isinstance(factory, FakeQuanterWithAbsMaxObserver)


def _setting(factory: Any, name: str, default: Any) -> Any:
    return factory.kwargs.get(name, default) if hasattr(factory, "kwargs") else default


def _bits(factory: Any) -> int:
    for name in ("bit_length", "quant_bits"):
        if isinstance(_setting(factory, name, None), int):
            return int(_setting(factory, name, 8))
    return 8
