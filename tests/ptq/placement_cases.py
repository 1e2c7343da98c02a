"""What the tests of placement share: the config, and the grids of ResNet-20."""

from __future__ import annotations

from typing import Any

from ptq import PTQConfig
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer


def full(rule: Any = None, weight_bits: int = 8) -> PTQConfig:
    return PTQConfig(AbsmaxQuantizer() if rule is None else rule, PerChannelAbsmaxQuantizer(weight_bits), placement="full")


BLOCKS = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
RESNET20_GRIDS = {
    *("input#0", "relu#0", "pool2d#0", "linear"),
    *(f"{block}.relu#0" for block in BLOCKS),
    *(f"{block}.conv2" for block in BLOCKS),
    *(f"{block}.relu#1" for block in BLOCKS),
}
