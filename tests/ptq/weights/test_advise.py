"""`advise`: what it sees in a model, and what it says first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paddle
import pytest
from paddle import nn
from paddle.static import InputSpec
from weight_nets import Perceptron, TiedModel

import ptq
from quantizers.errors import ConfigError


def mobile() -> nn.Layer:
    return nn.Sequential(nn.Conv2D(3, 8, 3), nn.Conv2D(8, 8, 3, groups=8), nn.Conv2D(8, 16, 1), nn.ReLU())


@pytest.mark.parametrize(
    ("model", "spec", "first"),
    [
        (Perceptron, [4, 40], "quantize_dynamic"),
        (mobile, [1, 3, 9, 9], "placement='full'"),
        (lambda: nn.LSTM(8, 8), None, "ptq.quantize_weights(model)"),
        (lambda: nn.Embedding(5000, 64), None, "layers=paddle.nn.Embedding"),
        (nn.ReLU, None, "nothing"),
    ],
)
def test_the_first_suggestion_fits_the_kind_of_model(model: Any, spec: list[int] | None, first: str) -> None:
    net = model()
    advice = ptq.advise(net, None if spec is None else [InputSpec(spec, "float32")])
    assert first in advice.suggestions[0].call
    assert advice.suggestions[0].reason in str(advice)
    assert bool(advice.macs) == (spec is not None)


def test_weights_are_counted_by_kind() -> None:
    found = ptq.advise(mobile()).weights
    assert found == {"convolution": 4 * (3 * 8 * 9 + 8 * 16), "depthwise convolution": 4 * 8 * 9}
    tied = ptq.advise(TiedModel(50, 32)).weights
    assert tied == {"Linear": 4 * 32 * 32, "embedding": 4 * 50 * 32}


def test_what_blocks_gain_is_measured_on_the_weights() -> None:
    plain, spread = nn.Linear(128, 16), nn.Linear(128, 16)
    values = paddle.ones([128, 16]) * 0.01
    values[::64] = 1.0
    spread.weight.set_value(values * paddle.rand([128, 16]))
    assert ptq.advise(spread).blocks > ptq.advise(plain).blocks + 1


def test_a_saved_program_tells_its_own_inputs(tmp_path: Path) -> None:
    paddle.jit.save(Perceptron(), str(tmp_path / "m"), input_spec=[InputSpec([None, 40], "float32")])
    advice = ptq.advise(tmp_path / "m")
    assert advice.macs["Linear"] == 40 * 48 + 48 * 6


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        ptq.advise(3)  # type: ignore[arg-type]
