"""What one layer gets: how its weight, its input and its output are quantized, or that they are not."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantizers import BaseQuantizer, PerChannelQuantizer
from quantizers.errors import ConfigError

from .overrides import DYNAMIC, check_quantizer, quantizer_of, settings_of

__all__ = ["LayerScheme", "TensorScheme"]


@dataclass(frozen=True, eq=False)
class TensorScheme:
    """How one tensor is quantized.

    Args:
        rule: the quantizer whose settings count; a copy is kept, and it never sees data.
        per_channel: one scale per channel; one in all when False.  ``None`` means what the rule gives.
        dynamic: the range is found anew in every call, so that no calibration is needed: True or ``"tensor"`` for the whole tensor,
            ``"row"`` for each vector along the last axis.

    Raises:
        ConfigError: the rule is no `BaseQuantizer` instance, or the settings contradict each other.
    """

    rule: BaseQuantizer
    per_channel: bool | None = None
    dynamic: bool | str = False

    def __post_init__(self) -> None:
        check_quantizer("a scheme's rule", self.rule)
        object.__setattr__(self, "rule", copy.deepcopy(self.rule))
        if self.per_channel is None:
            object.__setattr__(self, "per_channel", isinstance(self.rule, PerChannelQuantizer))
        if not isinstance(self.per_channel, bool) or (not isinstance(self.dynamic, bool) and self.dynamic not in DYNAMIC):
            raise ConfigError(
                f"per_channel and dynamic must be True or False, dynamic may be {' or '.join(map(repr, DYNAMIC))}, "
                f"got {self.per_channel!r} and {self.dynamic!r}"
            )
        if self.per_channel and self.dynamic:
            raise ConfigError("a range that is found in every call is no channel's: per_channel and dynamic exclude each other")

    @property
    def dynamic_kind(self) -> str:
        """What has a range of its own in every call: ``"tensor"``, ``"row"``, or ``""``."""
        return DYNAMIC[0] if self.dynamic is True else self.dynamic or ""

    @property
    def num_bits(self) -> int:
        """Width of the grid."""
        return self.rule.quant_bits

    def quantizer(self) -> BaseQuantizer:
        """A quantizer by this rule, without data."""
        return copy.deepcopy(self.rule)

    def to_dict(self) -> dict[str, Any]:
        """JSON values for `from_dict`; raises ``ConfigError`` for a rule that is registered under no name."""
        return {"rule": settings_of(self.rule), "per_channel": self.per_channel, "dynamic": self.dynamic}

    @classmethod
    def from_dict(cls, values: Any) -> TensorScheme:
        """The scheme that `to_dict` described; raises ``ConfigError`` for anything else."""
        _check_keys(values, {"rule", "per_channel", "dynamic"}, "a tensor's scheme")
        return cls(quantizer_of(values["rule"]), values["per_channel"], values["dynamic"])

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, TensorScheme) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self.rule), self.num_bits, self.per_channel, self.dynamic))

    def _content(self) -> tuple[Any, ...]:
        return type(self.rule), self.rule.settings(), self.per_channel, self.dynamic


@dataclass(frozen=True)
class LayerScheme:
    """How one layer is quantized; ``None`` for a tensor that stays as it is.

    A weight without an input is weight-only.  A layer without a weight is observed: its output has statistics, and no grid of its own.

    Raises:
        ConfigError: a weight whose range would be found in every call.
    """

    weight: TensorScheme | None = None
    input: TensorScheme | None = None
    output: TensorScheme | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and self.weight.dynamic:
            raise ConfigError("a weight does not change from call to call: its scheme cannot be dynamic")

    @property
    def is_weight_only(self) -> bool:
        """Whether the input is taken as it comes."""
        return self.weight is not None and self.input is None

    @property
    def calibrated_input(self) -> TensorScheme | None:
        """The scheme of an input whose range comes from calibration data; ``None`` for one that is not quantized, or in every call anew."""
        return None if self.input is None or self.input.dynamic else self.input

    @property
    def dynamic_input(self) -> str:
        """How the input's range is found in every call, see `TensorScheme.dynamic_kind`."""
        return "" if self.input is None else self.input.dynamic_kind

    @property
    def per_channel_input(self) -> bool:
        """Whether the input may get one scale per channel."""
        return self.input is not None and bool(self.input.per_channel)

    def to_dict(self) -> dict[str, Any]:
        """JSON values for `from_dict`; raises as `TensorScheme.to_dict`."""
        parts = {"weight": self.weight, "input": self.input, "output": self.output}
        return {name: None if part is None else part.to_dict() for name, part in parts.items()}

    @classmethod
    def from_dict(cls, values: Any) -> LayerScheme:
        """The scheme that `to_dict` described; raises ``ConfigError`` for anything else."""
        _check_keys(values, {"weight", "input", "output"}, "a layer's scheme")
        return cls(**{name: None if value is None else TensorScheme.from_dict(value) for name, value in values.items()})


def _check_keys(values: Any, names: set[str], what: str) -> None:
    if not isinstance(values, Mapping) or set(values) != names:
        raise ConfigError(f"{what} is an object with {', '.join(sorted(names))}, got {values!r:.200}")
