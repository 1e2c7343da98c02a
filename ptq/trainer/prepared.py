"""The models of a training: the float net, and the one on grids by the section ``qat``."""

from __future__ import annotations

from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..config.overrides import QuantOverride
from ..training import QATConfig, prepare
from .build import Setup
from .checkpoints import load_model

__all__ = ["Quantization", "float_model", "prepared_model", "quantization_of"]

TRAINER_KEYS = ("freeze_batch_norms", "distill")


class Quantization:
    """The section ``qat`` of a configuration: arguments of `QATConfig`, and what the trainer does.

    Attributes:
        config: what the model is prepared with; placement ``full`` unless the section says otherwise.
        freeze: after which share of the iterations the statistics of batch norms stay; 1 for never.
        distill: arguments of `Distillation` with the float net as teacher, or None.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        values = dict(values)
        freeze = values.pop("freeze_batch_norms", 0.75)
        if isinstance(freeze, bool) or not isinstance(freeze, (int, float)) or not 0 <= freeze <= 1:
            raise ConfigError(f"qat: freeze_batch_norms must be a share from 0 to 1, got {freeze!r}")
        self.freeze = float(freeze)
        distill = values.pop("distill", None)
        if distill is not None and not isinstance(distill, dict):
            raise ConfigError(f"qat: distill must be a section such as {{temperature: 2}}, got {distill!r}")
        self.distill = distill
        overrides = values.pop("overrides", {})
        if not isinstance(overrides, dict):
            raise ConfigError(f"qat: overrides must be a section of names of layers, got {overrides!r:.100}")
        try:
            made = {name: None if value is None else QuantOverride.from_dict(value) for name, value in overrides.items()}
            self.config = QATConfig(**{"placement": "full", **values, "overrides": made})
        except TypeError as error:
            raise ConfigError(f"qat: {error}") from error


def quantization_of(setup: Setup) -> Quantization:
    """What the configuration says of quantization; defaults where it says nothing."""
    values = setup.settings.get("qat", {})
    if not isinstance(values, dict):
        raise ConfigError(f"qat must be a section, got {values!r:.100}")
    return Quantization(values)


def float_model(setup: Setup, path: str | None = None) -> nn.Layer:
    """The float net, with the parameters of a file where one is given."""
    model = setup.model()
    if path is not None:
        load_model(model, path)
    return model


def prepared_model(setup: Setup, net: nn.Layer, *, trained: str | None = None) -> nn.Layer:
    """The net on grids.

    Args:
        setup: has the settings and the pictures that give activations their first ranges.
        net: the float net.
        trained: file or folder with a state of the prepared net, which has ranges of its own.
    """
    config = quantization_of(setup).config
    if trained is None:
        return prepare(net, config, data=setup.first_pictures())
    model = prepare(net, config, input_spec=setup.input_spec())
    load_model(model, trained)
    return model
