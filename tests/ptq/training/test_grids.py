"""Each kind of grid by its formula: where the range comes from, in training and after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from ptq.training.grids import ACTIVATIONS, WEIGHTS, first_activation_rule, first_weight_rule
from quantizers import AbsmaxQuantizer, MinMaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ConfigError, NonFiniteError


def tensor(*values: float) -> paddle.Tensor:
    return paddle.to_tensor(values, dtype="float32")


def grid(kind: str, bits: int = 8, **settings: Any) -> Any:
    return ACTIVATIONS[kind](first_activation_rule(kind, bits), "here", **settings)


def scale(found: Any) -> float:
    return float(found.qparams().scale)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_the_first_batch_gives_the_kind_of_grid(kind: str) -> None:
    unsigned, signed = grid(kind), grid(kind)
    unsigned(tensor(0, 1, 2.55))
    signed(tensor(-2.54, 1, 2))
    assert (unsigned.qparams().quant_min, unsigned.qparams().quant_max, float(unsigned.qparams().zero_point)) == (0, 255, 0)
    if kind in ("lsq+", "fixed"):
        assert 0 < float(signed.qparams().zero_point) < 255
    else:
        assert (signed.qparams().quant_min, float(signed.qparams().zero_point)) == (-128, 0)


def test_a_moving_average_follows_the_batches() -> None:
    found = grid("moving_average_abs_max", rate=0.75)
    found(tensor(0, 2.55))  # starts at it, and moves towards it, which is nowhere
    assert scale(found) == pytest.approx(0.01)
    found(tensor(0, 7.65))
    assert scale(found) == pytest.approx(0.75 * 0.01 + 0.25 * 0.03, rel=1e-6)
    found.eval()
    assert found(tensor(9.0)).item() == pytest.approx(255 * 0.015, rel=1e-6)
    assert scale(found) == pytest.approx(0.015, rel=1e-6)


def test_a_window_forgets_what_is_older() -> None:
    found = grid("range_abs_max", size=2)
    for value, largest in ((5.1, 5.1), (2.55, 5.1), (1.0, 2.55), (0.5, 1.0), (7.65, 7.65), (1.0, 7.65), (1.0, 1.0)):
        found(tensor(0, value))
        assert scale(found) == pytest.approx(largest / 255, rel=1e-6), value


def test_a_batch_has_its_own_range_in_training_and_their_average_after_it() -> None:
    found = grid("abs_max", rate=0.5)
    found(tensor(0, 2.55))
    assert found(tensor(0, 5.1)).tolist() == pytest.approx([0, 5.1])
    assert scale(found) == pytest.approx((0.01 + 0.02) / 2)
    found.eval()
    assert found(tensor(0, 5.1)).tolist() == pytest.approx([0, 255 * 0.015])


def test_a_fixed_range_stays() -> None:
    found = ACTIVATIONS["fixed"](MinMaxQuantizer(symmetric=False), "here")
    found(tensor(-1, 2))
    before = scale(found), float(found.qparams().zero_point)
    found(tensor(-10, 20))
    assert (scale(found), float(found.qparams().zero_point)) == before == (pytest.approx(3 / 255), 85.0)


def test_a_learned_offset_moves_the_zero_point() -> None:
    found = ACTIVATIONS["lsq+"](MinMaxQuantizer(symmetric=False), "here")
    found(tensor(-1, 2))
    assert float(found.qparams().zero_point) == 85
    found.offset_drift.set_value(paddle.to_tensor(-10 / 255))  # in units of the first range
    assert float(found.qparams().zero_point) == 95
    assert found(tensor(-9.0)).item() == pytest.approx(-95 * 3 / 255, rel=1e-6)
    found.offset_drift.set_value(paddle.to_tensor(2.0))
    assert float(found.qparams().zero_point) == 0


def test_a_learned_step_and_a_learned_range() -> None:
    step, clip = grid("lsq"), grid("pact", 4)
    for found in (step, clip):
        found.start(AbsmaxQuantizerOf(1.5, found.num_bits))
    step.drift.set_value(paddle.to_tensor(np.log(2.0), dtype="float32"))
    assert scale(step) == pytest.approx(2 * 1.5 / 127, rel=1e-6)
    clip.alpha.set_value(paddle.to_tensor(3.0))
    assert scale(clip) == pytest.approx(3.0 / 7, rel=1e-6)
    assert clip(tensor(8.0)).item() == pytest.approx(3.0)


def AbsmaxQuantizerOf(threshold: float, bits: int) -> Any:  # noqa: N802 - reads as what it is
    rule = AbsmaxQuantizer(bits)
    rule.sample_data(None, (tensor(-threshold, threshold),))
    rule.cal_thresholds()
    return rule.qparams[0]


def test_half_precision_goes_through() -> None:
    found = grid("lsq")
    assert found(tensor(-1, 2).astype("float16")).dtype == paddle.float16


def weight_grid(kind: str, shape: list[int], per_channel: bool, **settings: Any) -> Any:
    return WEIGHTS[kind](first_weight_rule(kind, 8, per_channel), "here", shape, 0, **settings)


WEIGHT = np.float32([[1.27, -0.5], [2.54, 0.1], [0, 0]])


def test_weights_end_at_their_largest_magnitude_per_channel_or_in_all() -> None:
    each = weight_grid("abs_max", [3, 2], True).integers_of(paddle.to_tensor(WEIGHT))
    assert each.qparams.scale.tolist() == pytest.approx([0.01, 0.02, 1.0])
    assert each.integers.tolist() == [[127, -50], [127, 5], [0, 0]]
    whole = weight_grid("abs_max", [3, 2], False).integers_of(paddle.to_tensor(WEIGHT))
    assert float(whole.qparams.scale) == pytest.approx(0.02)


def test_weights_with_a_memory() -> None:
    average = weight_grid("moving_average_abs_max", [3, 2], False, rate=0.5)
    average(paddle.to_tensor(WEIGHT))
    average(paddle.to_tensor(3 * WEIGHT))
    assert float(average.scale) == pytest.approx(0.04, rel=1e-6)
    window = weight_grid("range_abs_max", [3, 2], False, size=2)
    for factor, largest in ((3, 3), (1, 3), (1, 1), (2, 2)):
        window(paddle.to_tensor(WEIGHT * np.float32(factor)))
        assert float(window.scale) == pytest.approx(0.02 * largest, rel=1e-6)


def test_learned_scales_start_from_the_rule_and_drift() -> None:
    found = WEIGHTS["lsq"](PerChannelAbsmaxQuantizer(), "here", [3, 2], 0)
    rounded = found(paddle.to_tensor(WEIGHT))
    np.testing.assert_allclose(rounded.numpy(), WEIGHT, atol=0.011)
    found.drift.set_value(paddle.full([3, 1], np.log(2), "float32"))
    assert found.qparams_of(paddle.to_tensor(WEIGHT)).scale.tolist() == pytest.approx([0.02, 0.04, 2.0], rel=1e-6)


@pytest.mark.parametrize("kind", ["moving_average_abs_max", "range_abs_max", "abs_max"])
def test_what_is_not_finite_is_named(kind: str) -> None:
    found = grid(kind)
    found(tensor(0, 1))
    with pytest.raises(NonFiniteError, match="here holds NaN or Inf"):
        found(tensor(0, float("nan")))
    first = grid(kind)
    with pytest.raises(NonFiniteError):
        first(tensor(0, float("inf")))


def test_settings_out_of_range() -> None:
    with pytest.raises(ConfigError, match="moving_rate must be"):
        grid("moving_average_abs_max", rate=1.0)
    with pytest.raises(ConfigError, match="window_size must be"):
        grid("range_abs_max", size=0)
    with pytest.raises(ConfigError, match="no batch has reached it"):
        grid("lsq").qparams()
