"""What to quantize with: quantizers for activations and weights, which tensors get a grid, and what differs for some layers."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any

from quantizers import BaseQuantizer, KLQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ConfigError

from ..util.json_file import read_json, write_json
from .keys import Overrides, check_overrides
from .override_list import overrides_from_list, overrides_to_list
from .overrides import QuantOverride, check_activation_quantizer, check_quantizer, quantizer_of, settings_of
from .scheme import LayerScheme, TensorScheme

__all__ = ["PLACEMENTS", "TARGET_NAMES", "PTQConfig", "check_quantizer", "check_target", "default_ptq_config"]

PLACEMENTS = ("compute", "full", "fastest")
# Those that set grids for a target.
TARGETED = ("full", "fastest")
# What each of them needs says `ptq.placement.targets`.
TARGET_NAMES = ("any", "onnxruntime", "openvino", "paddle_inference")
FORMAT = "paddle-ptq config"
VERSION = 1
SETTINGS = ("placement", "target", "activation_quantizer", "weight_quantizer", "per_channel_activations", "overrides")


class PTQConfig:
    """What the user asked for: quantizers and settings, from which every layer that `ImperativePTQ.quantize` prepares gets its scheme.

    Args:
        activation_quantizer: any `BaseQuantizer` instance; ``KLQuantizer()`` when ``None``.
        weight_quantizer: any `BaseQuantizer` instance; ``PerChannelAbsmaxQuantizer()`` when ``None``.
        placement: which tensors get a grid.  ``"compute"``: weights and inputs of compute layers (convolutions, Linear);
            additions, pools and the model's output stay float.  ``"full"``: all that an int8 runtime needs to stay in int8 between
            them, functional operations, inputs and outputs included; less accurate, and what makes an export fast.  ``"fastest"``, in
            `quantize_model` only: ``"full"`` without what is measured to be slower on integers than in float in the target's runtime.
        target: the runtime that the grids of placement ``"full"`` are for.  ``"any"``: one file that all of them run on integers;
            ``"onnxruntime"``, ``"openvino"``, ``"paddle_inference"``: only the grids that this one needs, which is more accurate and,
            there, faster.  Calibration is the same for all: `ImperativePTQ.convert` takes another ``target``.
        per_channel_activations: tensors between layers with weights get a scale per channel, which the weights take up, where it gains.
        overrides: what differs for some layers and activations: a dict from names, globs (``"head.*"``), regular expressions
            (``"re:conv[12]$"``) or layer classes to a `QuantOverride`, or to ``None`` for what stays float; later entries win.
            See `ptq.config.keys` for what a key matches.  A key that matches nothing is an error in `ImperativePTQ.quantize`, or
            in the first batch where it may name an activation.

    Attributes:
        in_act_quantizer, out_act_quantizer, wt_quantizer: copies of the quantizers, which never see data; what a layer got of its own is
            read in ``layer._quant_config`` (`ptq.calibration.state.LayerState`).

    Two configs are equal when what they were made with is.

    Raises:
        ConfigError: a quantizer is not a `BaseQuantizer` instance, the placement or the target is unknown, a target is given for placement
            ``"compute"``, or the overrides are malformed.
    """

    def __init__(
        self,
        activation_quantizer: BaseQuantizer | None = None,
        weight_quantizer: BaseQuantizer | None = None,
        *,
        placement: str = "compute",
        target: str = "any",
        per_channel_activations: bool = True,
        overrides: Overrides | None = None,
    ) -> None:
        activation_quantizer = KLQuantizer() if activation_quantizer is None else activation_quantizer
        weight_quantizer = PerChannelAbsmaxQuantizer() if weight_quantizer is None else weight_quantizer
        check_activation_quantizer("activation_quantizer", activation_quantizer)
        check_quantizer("weight_quantizer", weight_quantizer)
        if placement not in PLACEMENTS:
            raise ConfigError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
        check_target(target, placement)
        self.in_act_quantizer = copy.deepcopy(activation_quantizer)
        self.out_act_quantizer = copy.deepcopy(activation_quantizer)
        self.wt_quantizer = copy.deepcopy(weight_quantizer)
        if not isinstance(per_channel_activations, bool):
            raise ConfigError(f"per_channel_activations must be True or False, got {per_channel_activations!r}")
        self.placement = placement
        self.target = target
        self.per_channel_activations = per_channel_activations
        self.overrides = check_overrides(overrides)

    def scheme(self, changes: Iterable[QuantOverride] = ()) -> LayerScheme:
        """The scheme of one layer or activation, the changes applied in order: all that may be quantized of it.

        Raises:
            ConfigError: a weight's rule has no form of the granularity that is asked for.
        """
        kind = ""
        inward, outward, weight = (copy.deepcopy(rule) for rule in (self.in_act_quantizer, self.out_act_quantizer, self.wt_quantizer))
        for change in changes:
            inward, outward, weight = change.activation(inward), change.activation(outward), change.weight(weight)
            kind = change.dynamic_kind(kind)
        return LayerScheme(TensorScheme(weight), TensorScheme(inward, dynamic=kind or False), TensorScheme(outward))

    def to_dict(self) -> dict[str, Any]:
        """JSON values of which `from_dict` makes an equal config.

        Raises:
            ConfigError: a quantizer or a class among the overrides is registered under no name.
        """
        if _content(self.in_act_quantizer) != _content(self.out_act_quantizer):
            raise ConfigError("in_act_quantizer and out_act_quantizer were made to differ, which a file cannot hold; use overrides")
        # what is the default is left out, so that older readers take the file
        target = {} if self.target == "any" else {"target": self.target}
        channels = {} if self.per_channel_activations else {"per_channel_activations": False}
        return {
            "format": FORMAT,
            "version": VERSION,
            "placement": self.placement,
            **target,
            "activation_quantizer": settings_of(self.in_act_quantizer),
            "weight_quantizer": settings_of(self.wt_quantizer),
            **channels,
            "overrides": overrides_to_list(self.overrides),
        }

    @classmethod
    def from_dict(cls, values: Any) -> PTQConfig:
        """The config that `to_dict` described; a setting that is left out has its default.

        Raises:
            ConfigError: the values are another program's, of a newer version, or hold what no config does.
        """
        try:
            return cls(**_settings(values))
        except RecursionError as error:
            raise ConfigError("the values are nested deeper than those of any config") from error

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the config to a file, as a whole or not at all.

        Raises:
            ConfigError: as `to_dict`.
            ArtifactError: the file cannot be written.
        """
        write_json(path, self.to_dict())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> PTQConfig:
        """Reads a file that `to_json` wrote.

        Raises:
            ArtifactError: there is none, or it cannot be read; ``CorruptArtifactError`` when it is not JSON.
            ConfigError: it holds something else, see `from_dict`.
        """
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return self._made_with() == other._made_with() if isinstance(other, PTQConfig) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _made_with(self) -> tuple[Any, ...]:
        quantizers = (self.in_act_quantizer, self.out_act_quantizer, self.wt_quantizer)
        return self.placement, self.target, self.per_channel_activations, list(self.overrides.items()), *map(_content, quantizers)


def check_target(target: object, placement: str) -> None:
    """Raises `ConfigError` unless there is such a target and the placement sets grids for it."""
    if not isinstance(target, str) or target not in TARGET_NAMES:
        raise ConfigError(f"target must be one of {', '.join(TARGET_NAMES)}, got {target!r}")
    if placement not in TARGETED and target != "any":
        raise ConfigError(f"target={target!r} says which grids placement 'full' sets, but placement is {placement!r}: pass 'full'")


def _content(quantizer: BaseQuantizer) -> tuple[type, dict[str, Any]]:
    return type(quantizer), quantizer.settings()


def _settings(values: Any) -> dict[str, Any]:
    """The arguments of `PTQConfig` that JSON values stand for; raises as `PTQConfig.from_dict`."""
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise ConfigError(f"not a config of this project: expected an object with 'format': {FORMAT!r}, got {values!r:.200}")
    version = values.get("version")
    if type(version) is not int or version < 1:
        raise ConfigError(f"a config's version must be a whole number from 1 up, got {version!r:.200}")
    if version > VERSION:
        raise ConfigError(f"this config has version {version}, this paddle-ptq reads up to {VERSION}: upgrade paddle-ptq")
    settings = {name: value for name, value in values.items() if name not in ("format", "version")}
    unknown = settings.keys() - set(SETTINGS)
    if unknown:
        raise ConfigError(f"a config has no {', '.join(sorted(map(repr, unknown)))}; it has {', '.join(SETTINGS)}")
    for name in settings:
        if name.endswith("_quantizer"):
            settings[name] = quantizer_of(settings[name])
        elif name == "overrides":
            settings[name] = overrides_from_list(settings[name])
    return settings


default_ptq_config = PTQConfig()
