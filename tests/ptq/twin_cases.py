"""Every setting of every layer that has a quantized twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from paddle import nn

CONVOLUTIONS = {1: nn.Conv1D, 2: nn.Conv2D, 3: nn.Conv3D}
TRANSPOSED = {1: nn.Conv1DTranspose, 2: nn.Conv2DTranspose, 3: nn.Conv3DTranspose}
CHANNEL_FIRST = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
CHANNEL_LAST = {1: "NLC", 2: "NHWC", 3: "NDHWC"}


@dataclass
class TwinCase:
    """A layer, the shape of its input, what else it is called with, and the scales that its weight must have.

    ``scale_of``: for each element of the weight, the index of its channel's scale.
    """

    make: Callable[[], nn.Layer]
    shape: tuple[int, ...]
    channel_axis: int
    arguments: dict[str, Any] = field(default_factory=dict)

    def channels_of(self, weight: np.ndarray) -> np.ndarray:
        """The channel index of every element of the weight, by counting along the axis and nothing else."""
        return np.indices(weight.shape)[self.channel_axis]


def _convolutions() -> list[Any]:
    cases = []
    for dims, layer in CONVOLUTIONS.items():
        settings: dict[str, dict[str, Any]] = {
            "plain": {},
            "padding int": {"padding": 2},
            "padding list": {"padding": [2, 1, 0][:dims]},
            "padding both sides": {"padding": [1, 2, 0, 1, 2, 0][: 2 * dims]},
            "padding SAME": {"padding": "SAME", "stride": 2},
            "padding VALID": {"padding": "VALID"},
            "stride": {"stride": [2, 1, 2][:dims]},
            "dilation": {"dilation": 2, "padding": 2},
            "groups": {"groups": 2},
            "depthwise": {"groups": 4, "out_channels": 8},
            "no bias": {"bias_attr": False},
        }
        for mode in ("reflect", "replicate", "circular", "zeros"):
            settings[f"padding_mode {mode}"] = {"padding_mode": mode, "padding": 1}
        for name, options in settings.items():
            for last in (False, True):
                data_format = CHANNEL_LAST[dims] if last else CHANNEL_FIRST[dims]
                size = (8, 7, 6)[:dims]
                shape = (2, *size, 4) if last else (2, 4, *size)
                arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2, 3)[:dims], **options, "data_format": data_format}
                cases.append(
                    pytest.param(
                        TwinCase(lambda layer=layer, arguments=arguments: layer(**arguments), shape, 0),
                        id=f"{layer.__name__}-{data_format}-{name}",
                    )
                )
    return cases


def _transposed() -> list[Any]:
    cases = []
    for dims, layer in TRANSPOSED.items():
        settings: dict[str, dict[str, Any]] = {
            "plain": {},
            "padding int": {"padding": 1},
            "padding list": {"padding": [1, 0, 1][:dims]},
            "padding SAME": {"padding": "SAME"},
            "stride": {"stride": 2},
            "output_padding": {"stride": 3, "output_padding": 1},
            "dilation": {"dilation": 2},
            "groups": {"groups": 2},
            "groups without bias": {"groups": 4, "out_channels": 8, "bias_attr": False},
            "output_size": {"stride": 2},
            "no bias": {"bias_attr": False},
        }
        for name, options in settings.items():
            for last in (False, True):
                data_format = CHANNEL_LAST[dims] if last else CHANNEL_FIRST[dims]
                size = (5, 4, 3)[:dims]
                shape = (2, *size, 4) if last else (2, 4, *size)
                arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options, "data_format": data_format}
                call = {"output_size": [2 * length + 2 for length in size]} if name == "output_size" else {}
                cases.append(
                    pytest.param(
                        TwinCase(lambda layer=layer, arguments=arguments: layer(**arguments), shape, 1, call),
                        id=f"{layer.__name__}-{data_format}-{name}",
                    )
                )
    return cases


def _linear() -> list[Any]:
    return [
        pytest.param(TwinCase(lambda: nn.Linear(6, 5), (4, 6), 1), id="Linear-plain"),
        pytest.param(TwinCase(lambda: nn.Linear(6, 5), (2, 3, 6), 1), id="Linear-3-D"),
        pytest.param(TwinCase(lambda: nn.Linear(6, 5, bias_attr=False), (4, 6), 1), id="Linear-no bias"),
        pytest.param(TwinCase(lambda: nn.Linear(5, 5), (4, 5), 1), id="Linear-square"),
    ]


TWIN_CASES = [*_convolutions(), *_transposed(), *_linear()]

# One of each layer type, for what does not depend on settings.
ONE_OF_EACH = [
    case
    for case in TWIN_CASES
    if case.id.endswith("-plain") and not any(f"-{data_format}-" in case.id for data_format in CHANNEL_LAST.values())
]
