"""Layer by layer: answers come nearer, integers stay on their grids, objectives never grow."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from models import absmax
from paddle import nn
from recovery_cases import bench_of, samples

from ptq import PTQConfig
from ptq.recovery.collect import Collector
from ptq.recovery.distill import DistillSettings, distill
from ptq.recovery.gram import centred
from ptq.recovery.objective import error_of
from ptq.recovery.weights import WeightSettings, recover_weights, rounded
from quantizers.errors import ConfigError

WAYS = {
    "nearest": WeightSettings("nearest", stages=0),
    "gptq": WeightSettings("gptq", stages=0),
    "gptq as it is": WeightSettings("gptq", stages=1, clip=False, sweeps=0, bias=False),
    "corrected": WeightSettings("gptq", stages=0, corrected=True),
    "adaround": WeightSettings("adaround", stages=0),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_worsens_its_objective(way: str) -> None:
    bench = bench_of()
    settings = WAYS[way]
    for unit in bench.units:
        products, _ = centred(Collector(bench).grams([unit])[unit.name])
        before = error_of(unit.integers, unit.scale, unit.goal, products)
        integers, scale = rounded(unit, products, None, settings, 1e-9)
        assert (error_of(integers, scale, unit.goal, products) <= before * (1 + 1e-9)).all()


@pytest.mark.parametrize("way", WAYS)
def test_answers_come_nearer_and_grids_stay(way: str) -> None:
    bench = bench_of()
    before = bench.score()
    recover_weights(bench, WAYS[way])
    assert bench.score() > before + (0.2 if way == "gptq as it is" else 2)
    for unit in bench.units:
        assert unit.integers.min() >= -8
        assert unit.integers.max() <= 7
        twin = unit.twins[0]
        assert twin.weight_quantized.dtype == paddle.int8
        assert twin.weight_scale.shape == [1 if size == 1 else size for size in twin.weight_scale.shape]
        assert int((twin.weight_scale <= 0).sum()) == 0


def test_biases_alone_take_back_a_shift() -> None:
    """Weights that were all rounded up shift the mean of every result, which a bias takes back."""
    bench = bench_of()
    for unit in bench.units:
        unit.write(np.clip(np.ceil(unit.goal / unit.scale), -7, 7), unit.scale)
    integers = [unit.integers for unit in bench.units]
    for stages in (1, 0):
        state, before = bench.snapshot(), bench.score()
        recover_weights(bench, WeightSettings("keep", stages=stages))
        assert bench.score() > before + 3
        for unit, old in zip(bench.units, integers, strict=True):
            np.testing.assert_array_equal(unit.integers, old)
        bench.restore(state)


def test_eight_bits_leave_the_smallest_integer_out() -> None:
    bench = bench_of(config=absmax(8))
    recover_weights(bench, WeightSettings(stages=0))
    assert min(unit.integers.min() for unit in bench.units) >= -127


def test_it_is_deterministic() -> None:
    found = []
    for _ in range(2):
        bench = bench_of()
        recover_weights(bench, WeightSettings(stages=2, corrected=True))
        found.append(bench.score())
    assert found[0] == found[1]


def test_a_layer_without_bias_and_a_dead_channel() -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Conv2D(3, 4, 3, bias_attr=False), nn.ReLU(), nn.Conv2D(4, 4, 3, bias_attr=False))
    weight = net[0].weight.numpy()
    weight[1] = 0
    net[0].weight.set_value(weight)
    bench = bench_of(net, calls=samples(4))
    before = bench.score()
    recover_weights(bench, WeightSettings(stages=0, corrected=True))
    assert bench.score() > before
    assert not bench.biases


@pytest.mark.parametrize("size", [1e-37, 1e-41, 0.0])
def test_weights_that_are_all_but_zero_keep_a_scale_that_is_a_number(size: float) -> None:
    paddle.seed(0)
    net = nn.Sequential(nn.Conv2D(3, 4, 3), nn.ReLU(), nn.Conv2D(4, 4, 3), nn.ReLU(), nn.Conv2D(4, 2, 1))
    for layer in (net[0], net[2]):
        weight = layer.weight.numpy()
        weight[1] *= size / np.abs(weight[1]).max()
        layer.weight.set_value(weight)
    config = PTQConfig(absmax().in_act_quantizer, absmax().wt_quantizer, per_channel_activations=False)
    bench = bench_of(net, config, calls=samples(4))
    recover_weights(bench, WeightSettings(stages=0, corrected=True))
    tiny = np.finfo(np.float32).tiny
    assert all((unit.scale >= tiny).all() for unit in bench.units)
    distill(bench, DistillSettings(epochs=1, window=2))
    for unit in bench.units:
        assert np.isfinite(unit.integers).all()
        assert (unit.scale >= tiny).all()
    assert np.isfinite(bench.score())


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="method must be one of"):
        WeightSettings("best")
    with pytest.raises(ConfigError, match="must not be negative"):
        WeightSettings(sweeps=-1)
