"""Calibrated layers that conversion leaves float, with what follows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from models import absmax, data
from paddle import nn

import ptq
from ptq import ImperativePTQ, PTQConfig
from ptq.layers.gridded import grids_of
from ptq.registry import PTQRegistry
from quantizers.errors import ConfigError

X = data(4, 3, 8, 8)


class Residual(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2D(3, 3, 3, padding=1), nn.Conv2D(3, 3, 3, padding=1), nn.Conv2D(3, 2, 1)

    def forward(self, x: Any) -> Any:
        y = nn.functional.relu(self.one(x))
        return self.three(y + self.two(y))


def prepared(target: str = "any", placement: str = "full") -> tuple[nn.Layer, ImperativePTQ, nn.Layer]:
    net = Residual()
    net.eval()
    engine = ImperativePTQ(PTQConfig(absmax().in_act_quantizer, placement=placement, target=target))
    model = engine.quantize(net)
    ptq.calibrate(model, [X], progress=False)
    return model, engine, net


def test_grids_that_only_float_layers_would_read_are_gone() -> None:
    model, engine, _ = prepared()
    everything = engine.convert(model, inplace=False)
    found = engine.convert(model, inplace=False, leave_float=["two"])
    assert set(grids_of(everything)) == {"input#0", "relu#0", "two", "add#0", "three"}
    # the addition follows `two`; `relu#0` is what the int8 convolution before it computes
    assert set(grids_of(found)) == {"input#0", "relu#0", "add#0", "three"}
    assert [name for name in ("one", "two", "three") if PTQRegistry.is_quantized_layer(getattr(found, name))] == ["one", "three"]


@pytest.mark.parametrize("target", ["any", "onnxruntime", "openvino"])
def test_all_layers_float_is_the_float_model(target: str) -> None:
    model, engine, net = prepared(target)
    found = engine.convert(model, leave_float=["one", "two", "three"])
    assert not grids_of(found)
    with paddle.no_grad():
        np.testing.assert_array_equal(found(X).numpy(), net(X).numpy())


def test_coverage_says_why() -> None:
    model, engine, _ = prepared()
    assert "int8 would make it no faster" in str(ptq.coverage(engine.convert(model, leave_float=["one"])))


@pytest.mark.parametrize("names", [["four"], ["relu#0"], "one"])
def test_what_is_no_layer_is_named(names: Any) -> None:
    model, engine, _ = prepared()
    with pytest.raises(ConfigError, match="leave_float must list names"):
        engine.convert(model, inplace=False, leave_float=names)
    assert engine.convert(model) is not None


def test_placement_compute_has_overrides_for_it() -> None:
    model, engine, _ = prepared(placement="compute")
    with pytest.raises(ConfigError, match="needs placement 'full'"):
        engine.convert(model, leave_float=["one"])
