"""The quantizer that keeps the best of several rules."""

from __future__ import annotations

import numpy as np
import pytest

from quantizers import AutoQuantizer, HistQuantizer, KLQuantizer, MinMaxQuantizer, MovingAverageAbsmaxQuantizer, MSEQuantizer
from quantizers.errors import ConfigError, NoCalibrationDataError

HEAVY_TAIL = np.random.default_rng(0).standard_normal((4, 5000)).astype("float32") ** 3


def squared_error(x: np.ndarray, quantizer) -> float:
    grid = quantizer.qparams[0]
    levels = np.clip(np.rint(x / np.float64(grid.scale)) + int(grid.zero_point), grid.quant_min, grid.quant_max)
    return float(np.square(x - (levels - int(grid.zero_point)) * np.float64(grid.scale)).mean())


@pytest.mark.parametrize(
    "x", [HEAVY_TAIL, np.abs(HEAVY_TAIL), np.sign(HEAVY_TAIL), HEAVY_TAIL[:, :1]], ids=["tail", "positive", "sign", "few"]
)
def test_alone_it_keeps_the_rule_of_least_squared_error(x):
    auto = AutoQuantizer(max_samples_per_item=None)
    auto.sample_data(None, (x,))
    auto.cal_thresholds()
    singles = []
    for candidate in auto.candidates:
        single = type(candidate)(**{k: v for k, v in candidate.settings().items() if k != "type"}).adopt(auto.statistics)
        single.cal_thresholds()
        singles.append(squared_error(x, single))
    assert squared_error(x, auto) <= min(singles) * 1.02


def test_grids_are_those_of_the_candidates_in_order():
    auto = AutoQuantizer(6, candidates=[MSEQuantizer(), MinMaxQuantizer(), HistQuantizer(hist_percent=0.9)])
    auto.sample_data(None, (HEAVY_TAIL,))
    grids = auto.candidate_grids()
    for index, kind in enumerate([MSEQuantizer(6), MinMaxQuantizer(6), HistQuantizer(6, hist_percent=0.9)]):
        kind.sample_data(None, (HEAVY_TAIL,))
        kind.cal_thresholds()
        assert grids[index] == kind.qparams[0]
        auto.choose(index)
        assert auto.qparams[0] == kind.qparams[0]
        assert auto.thresholds == kind.thresholds
    assert len({grid.threshold for grid in grids}) == 3


def test_reset_forgets_the_choice():
    auto = AutoQuantizer()
    auto.sample_data(None, (HEAVY_TAIL,))
    auto.choose(1)
    auto.reset()
    assert auto.chosen is None
    with pytest.raises(NoCalibrationDataError):
        auto.candidate_grids()


@pytest.mark.parametrize("candidates", [[], [KLQuantizer], ["KLQuantizer"], [MovingAverageAbsmaxQuantizer()]])
def test_bad_candidates_are_refused(candidates):
    with pytest.raises(ConfigError, match="candidates"):
        AutoQuantizer(candidates=candidates)


def test_candidates_are_copied():
    candidate = KLQuantizer()
    auto = AutoQuantizer(4, candidates=[candidate])
    auto.sample_data(None, (HEAVY_TAIL,))
    auto.cal_thresholds()
    assert candidate.quant_bits == 8
    assert auto.qparams[0].num_bits == 4
