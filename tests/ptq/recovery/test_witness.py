"""What the layers before the outputs say of a step."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from channel_cases import lcnet
from models import absmax
from paddle import nn
from recovery_cases import bench_of, samples

from ptq import PTQConfig
from ptq.calibration.seen import Sample
from ptq.recovery.distill import DistillSettings, distill
from ptq.recovery.weights import WeightSettings, recover_weights
from ptq.recovery.witness import gain_between, last_layers, squares_of

FULL = PTQConfig(absmax(8).in_act_quantizer, absmax(8).wt_quantizer, placement="full")


def test_the_last_layers_but_the_very_last() -> None:
    assert last_layers(bench_of()) == ["0", "2"]
    assert last_layers(bench_of(nn.Sequential(nn.Conv2D(3, 4, 3)))) == []


def test_power_and_noise_of_each_held_back_sample() -> None:
    bench = bench_of()
    found = squares_of(bench)
    assert found.shape == (20, 2, 2)
    net, twins = bench.float_model, bench.model
    with paddle.no_grad():
        pictures = paddle.concat([sample.call()[0][0] for sample in bench.held])
        wanted, answers = net[2](net[1](net[0](pictures))), twins[2](twins[1](twins[0](pictures)))
    wanted, answers = wanted.numpy().astype(np.float64), answers.numpy().astype(np.float64)
    np.testing.assert_allclose(found[:, 1, 0], np.square(wanted).sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1, 1], np.square(answers - wanted).sum((1, 2, 3)), rtol=1e-4)


def test_grids_per_channel_are_no_noise() -> None:
    bench = bench_of(lcnet(), FULL)
    names = last_layers(bench)
    assert any(np.ndim(bench.twins[name].result_factors) for name in names)
    squares = squares_of(bench).sum(axis=0)
    assert (squares[:, 1] < 0.05 * squares[:, 0]).all()


class Rows(nn.Layer):
    """Two pairs of Linears on ``[batch, rows, channels]``, of which the first ones' results differ in range by channel."""

    def __init__(self) -> None:
        super().__init__()
        paddle.seed(1)
        self.first, self.second, self.third, self.last = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 8), nn.Linear(8, 2)
        for layer in (self.first, self.third):
            layer.weight.set_value(layer.weight * paddle.to_tensor(np.geomspace(0.01, 3, 8).astype("float32")))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.second(nn.functional.relu(self.first(x)))
        return self.last(nn.functional.relu(self.third(y)))


def test_channels_of_rows_are_on_the_last_axis() -> None:
    random = np.random.default_rng(0)
    calls = [Sample.of(((paddle.to_tensor(random.standard_normal((8, 5, 6)).astype("float32")),), {})) for _ in range(8)]
    net = Rows()
    net.eval()
    bench = bench_of(net, FULL, calls)
    assert np.ndim(bench.twins["third"].result_factors)
    squares = squares_of(bench).sum(axis=0)
    assert (squares[:, 1] < 0.05 * squares[:, 0]).all()
    before = bench.score()
    distill(bench, DistillSettings(epochs=1))
    assert bench.score() >= before


def test_a_gain_and_its_error_beside_a_plain_computation() -> None:
    random = np.random.default_rng(0)
    before = random.uniform(1, 2, (9, 2, 2)) * [1.0, 0.1]
    after = before * [1.0, 0.5] * random.uniform(0.9, 1.1, before.shape)
    after[..., 0] = before[..., 0]

    def decibels(squares: np.ndarray) -> float:
        return float(np.mean([10 * np.log10(squares[:, layer, 0].sum() / squares[:, layer, 1].sum()) for layer in range(2)]))

    each = [decibels(np.delete(after, k, 0)) - decibels(np.delete(before, k, 0)) for k in range(9)]
    gain, error = gain_between(before, after)
    assert gain == pytest.approx(decibels(after) - decibels(before))
    assert error == pytest.approx(np.sqrt(8 / 9 * np.square(np.array(each) - np.mean(each)).sum()))


def test_better_weights_gain_surely() -> None:
    bench = bench_of(calls=samples(6))
    before = squares_of(bench)
    recover_weights(bench, WeightSettings(stages=0))
    gain, error = gain_between(before, squares_of(bench))
    assert gain > 2 * error > 0
    assert gain_between(before, before) == (0.0, 0.0)
