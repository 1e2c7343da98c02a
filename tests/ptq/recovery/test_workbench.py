"""The way back, grids per channel, and what is left alone."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from channel_cases import lcnet
from models import absmax
from paddle import nn
from recovery_cases import bench_of, samples, small_net

from ptq import PTQConfig
from ptq.recovery.weights import WeightSettings, recover_weights
from quantizers.errors import ConfigError, ModelError


def answers(model: nn.Layer) -> np.ndarray:
    with paddle.no_grad():
        return np.concatenate([model(*sample.call()[0]).numpy() for sample in samples(2, seed=9)])


def test_a_snapshot_is_the_way_back() -> None:
    bench = bench_of()
    before, first = answers(bench.model), bench.snapshot()
    recover_weights(bench, WeightSettings(stages=1))
    assert not np.array_equal(answers(bench.model), before)
    bench.restore(first)
    np.testing.assert_array_equal(answers(bench.model), before)


def test_the_users_model_and_the_float_twin_stay() -> None:
    net = small_net()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    bench = bench_of(net)
    expected = answers(bench.float_model)
    recover_weights(bench, WeightSettings(stages=0, corrected=True))
    np.testing.assert_array_equal(answers(bench.float_model), expected)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_weights_stand_for_the_float_ones_through_grids_per_channel(placement: str) -> None:
    config = absmax(8)
    net = lcnet()
    bench = bench_of(net, PTQConfig(config.in_act_quantizer, config.wt_quantizer, placement=placement))
    assert any(np.ndim(twin.weight_factors) for unit in bench.units for twin in unit.twins)
    for unit in bench.units:
        assert (np.abs(unit.integers * unit.scale - unit.goal) <= unit.scale * 0.5 * (1 + 1e-4)).all(), unit.name
    before = bench.score()
    recover_weights(bench, WeightSettings(stages=0))
    assert bench.score() > before - 3  # rounding of activations is nearly all of it


def test_biases_lie_on_the_grid_of_the_sums() -> None:
    config = absmax(8)
    bench = bench_of(config=PTQConfig(config.in_act_quantizer, config.wt_quantizer, placement="full"))
    recover_weights(bench, WeightSettings(stages=0))
    twin = bench.twins["0"]
    (grid,) = bench.on_grids["0"]
    steps = twin.bias.numpy().astype(np.float64) / (
        float(bench.twins[grid].input_scale) * twin.weight_scale.numpy().reshape(-1).astype(np.float64)
    )
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_what_is_no_converted_model_is_refused() -> None:
    from ptq.recovery.workbench import Workbench

    with pytest.raises(ModelError, match="recovery needs the model that"):
        Workbench(small_net(), samples(1))


def test_integers_that_do_not_fit_are_refused() -> None:
    twin = bench_of().twins["0"]
    with pytest.raises(ConfigError, match="do not fit a weight"):
        twin.set_weight(np.full(twin.weight_quantized.shape, 8), twin.weight_scale.numpy())
