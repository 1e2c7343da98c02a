"""Learned scales and shifts become part of the layers around them, where that is the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from program_nets import Affine, LCNet, answers, picture, save

import ptq


def _operations(layer: nn.Layer) -> Counter[str]:
    return Counter(step[1].function for step in layer._steps if not step[0])


def _settled() -> LCNet:
    net = LCNet()
    norm = net.up[1]
    for parameter in (norm.weight, norm.bias, norm._mean, norm._variance):
        parameter.set_value(np.random.default_rng(0).random(parameter.shape).astype("float32") + 0.5)
    return net


@pytest.mark.parametrize("size", [(1, 32, 48), (3, 64, 40)])
def test_a_net_like_pp_lcnet(size: tuple[int, int, int], tmp_path: Path) -> None:
    net = save(_settled(), tmp_path / "m", [None, 3, None, None])
    x = picture(size[0], 3, *size[1:])
    folded, plain = ptq.load_program(tmp_path / "m"), ptq.load_program(tmp_path / "m", fold_scales=False)
    expected = answers(net, x)[0]
    np.testing.assert_allclose(answers(folded, x)[0], expected, atol=1e-5)
    np.testing.assert_array_equal(answers(plain, x)[0], answers(paddle.jit.load(str(tmp_path / "m")), x)[0])
    # what is left: one gate, and the two affine maps around it, which feed the gate's product
    assert _operations(plain)["multiply"] == 10
    assert _operations(folded)["multiply"] == 2
    assert _operations(folded)["add"] == 1


def _pair(reader: nn.Layer) -> nn.Layer:
    return nn.Sequential(nn.Conv2D(3, 4, 1), nn.Hardswish(), Affine(1.5, 0.25), reader)


@pytest.mark.parametrize(
    ("reader", "adds"),
    [
        (lambda: nn.Conv2D(4, 5, 3), 0),
        (lambda: nn.Conv2D(4, 5, 3, padding=1), 1),
        (lambda: nn.Conv2D(4, 4, 3, groups=2), 0),
        (lambda: nn.Conv2D(4, 4, 3, padding=1, groups=4, bias_attr=False), 1),
        (lambda: nn.Conv2DTranspose(4, 5, 2, 2), 1),
        (lambda: nn.Conv2DTranspose(4, 6, 2, 2, groups=2), 1),
    ],
)
def test_a_scale_goes_on_and_a_shift_only_where_nothing_is_padded(reader: object, adds: int, tmp_path: Path) -> None:
    net = save(_pair(reader()), tmp_path / "m", [None, 3, 8, 8])  # type: ignore[operator]
    layer = ptq.load_program(tmp_path / "m")
    np.testing.assert_allclose(answers(layer, picture(2, 3, 8, 8))[0], answers(net, picture(2, 3, 8, 8))[0], atol=1e-5)
    assert _operations(layer)["multiply"] == 0
    assert _operations(layer)["add"] == adds


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2D(3, 4, 3, groups=1, bias_attr=False),
        lambda: nn.Conv2DTranspose(3, 4, 2, 2),
        lambda: nn.Sequential(nn.Conv2D(3, 4, 1), nn.BatchNorm2D(4)),
    ],
)
def test_what_follows_a_layer_goes_into_it(layer: object, tmp_path: Path) -> None:
    net = save(nn.Sequential(layer(), Affine(-0.5, 2.0), Affine(3.0, 0.5)), tmp_path / "m", [None, 3, 6, 6])  # type: ignore[operator]
    loaded = ptq.load_program(tmp_path / "m")
    assert not _operations(loaded)
    np.testing.assert_allclose(answers(loaded, picture(2, 3, 6, 6))[0], answers(net, picture(2, 3, 6, 6))[0], atol=1e-5)


def test_a_shared_layer_is_not_scaled_for_one_reader(tmp_path: Path) -> None:
    class Shared(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.affine = nn.Conv2D(3, 3, 1), Affine(2.0, 1.0)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.affine(self.conv(x)) + self.conv(x * x)

    net = save(Shared(), tmp_path / "m", [None, 3, 4, 4])
    layer = ptq.load_program(tmp_path / "m")
    assert len([inner for inner in layer.sublayers() if isinstance(inner, nn.Conv2D)]) == 1
    np.testing.assert_allclose(answers(layer, picture(2, 3, 4, 4))[0], answers(net, picture(2, 3, 4, 4))[0], atol=1e-5)
