"""What is played back is what was computed."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from recovery_cases import bench_of, rows

from ptq.recovery.tape import Tapes
from ptq.recovery.weights import WeightSettings, recover_weights


def test_layers_before_the_changing_one_are_computed_once() -> None:
    net = paddle.nn.Sequential(*(paddle.nn.Linear(3, 3) for _ in range(4)))
    x, ran = paddle.to_tensor(rows(2, 3).astype("float32")), []
    layers = dict(net.named_sublayers())
    for name, layer in layers.items():
        original = type(layer).forward

        class Counting(paddle.nn.Linear):
            def forward(self, x: paddle.Tensor, name: str = name, original: object = original) -> paddle.Tensor:
                ran.append(name)
                return original(self, x)  # type: ignore[operator]

        layer.__class__ = Counting
    expected, tapes = net(x).numpy(), Tapes(1 << 20)
    for changing, called in (("2", "0123"), ("2", "23"), ("3", "23"), ("3", "3")):
        ran.clear()
        with tapes.playing(0, layers, [changing]):
            np.testing.assert_array_equal(net(x).numpy(), expected)
        assert "".join(ran) == called
    net[3].weight.set_value(net[3].weight * 2)
    with tapes.playing(0, layers, ["3"]):
        found = net(x).numpy()
    np.testing.assert_array_equal(found, net(x).numpy())
    assert not any("forward" in vars(layer) for layer in layers.values())


def test_without_memory_all_is_computed() -> None:
    net = paddle.nn.Sequential(paddle.nn.Linear(3, 3), paddle.nn.Linear(3, 3))
    x, tapes = paddle.ones([1, 3]), Tapes(11)
    for factor in (1, 2):
        net[0].weight.set_value(net[0].weight * factor)
        with tapes.playing(0, dict(net.named_sublayers()), ["1"]):
            found = net(x).numpy()
        np.testing.assert_array_equal(found, net(x).numpy())


@pytest.mark.parametrize("memory", [1 << 30, 1 << 19])
def test_recovery_is_the_same_with_and_without(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench_of(memory=memory)
    recover_weights(first, WeightSettings(stages=0, corrected=True))
    monkeypatch.setattr(Tapes, "take", lambda _self, _size: False)
    second = bench_of()
    recover_weights(second, WeightSettings(stages=0, corrected=True))
    for one, other in zip(first.units, second.units, strict=True):
        np.testing.assert_array_equal(one.integers, other.integers)
        np.testing.assert_array_equal(first.biases[one.name], second.biases[other.name])
