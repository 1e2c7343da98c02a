"""Shortcuts of the tests of overrides."""

from __future__ import annotations

from typing import Any

from models import Net, converted, data, small_net
from paddle import nn

from ptq import PTQConfig
from ptq.layers import QuantizedLayer
from ptq.layers.gridded import grids_of
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer


def config(overrides: Any, placement: str = "compute") -> PTQConfig:
    """Abs-max everywhere, but for the overrides; weights take up no ratios of channels."""
    rules = AbsmaxQuantizer(), PerChannelAbsmaxQuantizer()
    return PTQConfig(*rules, placement=placement, overrides=overrides, per_channel_activations=False)


def quantized(overrides: Any, placement: str = "compute", model: nn.Layer | None = None) -> nn.Layer:
    """The quantized model, `small_net` by default."""
    return converted(small_net() if model is None else model, data(4, 3, 6, 6), config=config(overrides, placement), fuse=True)


def twins(model: nn.Layer) -> set[str]:
    """Names of the quantized layers."""
    return {name for name, layer in model.named_sublayers(include_self=True) if isinstance(layer, QuantizedLayer)}


def bits(model: nn.Layer) -> dict[str, int]:
    """Of the grids of a converted model, by site."""
    return {site: grid.input_qparams.num_bits for site, grid in grids_of(model).items()}


def deep_net() -> nn.Layer:
    """Containers of convolutions, activations and Linears."""
    stage = [nn.Sequential(nn.Conv2D(3, 3, 1), nn.ReLU()) for _ in range(2)]
    head = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    return Net(lambda m, x: m.head(m.stage1(m.stage0(x)).mean([2, 3])), stage0=stage[0], stage1=stage[1], head=head)
