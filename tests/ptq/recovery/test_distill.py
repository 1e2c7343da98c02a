"""Learning goes the right way, and what does not help is undone."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from models import absmax
from recovery_cases import bench_of

from ptq import PTQConfig
from ptq.recovery.distill import RATES, DistillSettings, distill
from ptq.recovery.straight import Learner, round_through
from quantizers.errors import ConfigError


def test_the_gradient_of_rounding_is_one() -> None:
    x = paddle.to_tensor([0.2, 1.7, -2.4], stop_gradient=False)
    y = round_through(x)
    np.testing.assert_array_equal(y.numpy(), [0, 2, -2])
    np.testing.assert_array_equal(paddle.grad(y.sum(), x)[0].numpy(), [1, 1, 1])


def test_the_gradient_of_a_scale_is_that_of_learned_step_sizes() -> None:
    """Esser et al. (2020), equation 3: round(x / s) - x / s inside the grid, its bound outside."""
    bench = bench_of()
    learner = Learner(bench, list(bench.units), ("inputs",), RATES, {})
    learner.begin()
    twin = learner.twins["6"]
    twin._buffers.pop("input_factor", None)  # of channels, which the numbers below are not
    scale = float(twin.input_scale)
    levels = np.array([0.3, 1.7, 100.4, 900.0])
    x = paddle.to_tensor((levels * scale).astype("float32"))
    (found,) = paddle.grad(twin.quantize_input(x).sum(), [learner.learnt["inputs", "6"].value])
    expected = np.where(levels <= 255, np.rint(levels) - levels, 255) * scale  # of the logarithm of the scale
    np.testing.assert_allclose(float(found), expected.sum(), rtol=1e-4)


def test_a_learner_answers_as_the_model_does_and_writes_what_it_is() -> None:
    bench = bench_of()
    learner = Learner(bench, list(bench.units), tuple(RATES), RATES, {})
    learner.begin()
    x = bench.fit[0].call()[0][0]
    np.testing.assert_allclose(learner.model(x).numpy(), bench.model(x).numpy(), rtol=1e-5, atol=1e-6)
    before = bench.model(x).numpy()
    learner.write()
    np.testing.assert_array_equal(bench.model(x).numpy(), before)


@pytest.mark.parametrize("options", [{}, {"window": 1, "epochs": 2}, {"drop": 0.3}, {"kinds": ("scales", "biases", "inputs")}])
def test_answers_come_nearer_and_integers_stay_on_grids(options: dict[str, object]) -> None:
    bench = bench_of()
    before = bench.score()
    distill(bench, DistillSettings(**{"epochs": 4, "batch": 6, **options}))  # type: ignore[arg-type]
    assert bench.score() >= before + (0.0 if "drop" in options else 0.3)
    for unit in bench.units:
        assert unit.integers.min() >= -8
        assert unit.integers.max() <= 7
        np.testing.assert_array_equal(unit.integers, np.rint(unit.integers))


def test_what_does_not_help_is_undone() -> None:
    bench = bench_of(config=PTQConfig(absmax(8).in_act_quantizer, absmax(8).wt_quantizer, placement="full"))
    before, state = bench.score(), bench.snapshot()
    distill(bench, DistillSettings(epochs=1, rate=300.0))
    assert bench.score() == before
    for name, buffers in bench.snapshot().buffers.items():
        for key, value in buffers.items():
            np.testing.assert_array_equal(value.numpy(), state.buffers[name][key].numpy())


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="kinds must be some of"):
        DistillSettings(kinds=("everything",))
    with pytest.raises(ConfigError, match="out of range"):
        DistillSettings(epochs=0)
