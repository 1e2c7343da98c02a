"""Each quantizer's own rule."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from calibrating import calibrated, hard_swish, normal

from quantizers import (
    AbsmaxQuantizer,
    AvgAbsmaxQuantizer,
    EMDQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    MovingAverageAbsmaxQuantizer,
    MSEQuantizer,
    QParams,
    squared_error,
)
from quantizers.errors import ConfigError
from quantizers.rules.search_kl import kl_threshold


def test_abs_max_and_min_max():
    batches = np.float32([[1, -2]]), np.float32([[0.5, 3]])
    assert calibrated(AbsmaxQuantizer, *batches).qparams == [QParams.symmetric(3.0)]
    assert calibrated(MinMaxQuantizer, *batches).qparams == [QParams.asymmetric(-2.0, 3.0)]
    assert calibrated(MinMaxQuantizer, *batches).thresholds == [3.0]
    assert calibrated(MinMaxQuantizer, *batches, symmetric=True).qparams == [QParams.symmetric(3.0)]
    below = calibrated(MinMaxQuantizer, np.float32([[-5, -1]])).qparams[0]
    assert below == QParams.asymmetric(-5.0, 0.0)


def test_averages():
    batches = np.float32([[1, -2], [4, 0]]), np.float32([[0.5, -9]])
    assert calibrated(AvgAbsmaxQuantizer, *batches).thresholds == [5.0]
    moving = calibrated(MovingAverageAbsmaxQuantizer, *batches, moving_rate=0.5)
    assert moving.thresholds == [pytest.approx((4 * 0.5 + 9) / 1.5)]
    assert calibrated(MovingAverageAbsmaxQuantizer, *batches[::-1], moving_rate=0.5).thresholds != moving.thresholds


def test_percentile():
    x = normal(shape=(1, 5000))
    found = calibrated(HistQuantizer, x, hist_percent=0.99, bins=256).thresholds[0]
    e, zeros, positive, negative = oracle.histogram(x.reshape(-1), 256)
    counts = [p + n for p, n in zip(positive, negative, strict=True)]
    assert found == pytest.approx(oracle.percentile(counts, zeros, 2.0**e, 0.99, 9.0), rel=1e-12)
    assert found == pytest.approx(np.quantile(np.abs(x), 0.99), rel=0.02)
    for bad in ({"hist_percent": 0}, {"upsample_bins": 0}, {"upsample_bins": 1.5}, {"hist_percent": 2}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            HistQuantizer(**bad)


def test_kl_is_kept_only_where_its_squared_error_is_no_worse():
    kept_somewhere = dropped_somewhere = False
    for seed in range(6):
        x = np.float32(normal(seed, (8, 8000)) ** (1 if seed % 2 else 5))
        guarded, pure = calibrated(KLQuantizer, x), calibrated(KLQuantizer, x, mse_guard=False)
        whole = calibrated(MinMaxQuantizer, x)
        errors = [squared_error(q.statistics[0], q.qparams[0]) for q in (pure, whole, guarded)]
        assert errors[2] == min(errors[:2])
        kept = errors[0] <= errors[1]
        assert guarded.qparams == (pure if kept else whole).qparams
        kept_somewhere |= kept and pure.qparams != whole.qparams
        dropped_somewhere |= not kept
    assert kept_somewhere
    assert dropped_somewhere
    with pytest.raises(ConfigError, match="mse_guard"):
        KLQuantizer(mse_guard=1)


def test_pure_kl_is_the_search_with_the_grids_own_levels():
    x = normal(shape=(8, 8000))
    quantizer = calibrated(KLQuantizer, x, mse_guard=False, symmetric=True)
    histogram = quantizer.statistics[0].histogram
    assert quantizer.thresholds == [kl_threshold(histogram, 128, float(np.abs(x).max()))]
    assert quantizer.thresholds[0] < np.abs(x).max()


@pytest.mark.parametrize(("kind", "power"), [(MSEQuantizer, 2), (EMDQuantizer, 1)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_least_error_beats_every_other_threshold(kind, power, symmetric):
    x = np.float32(hard_swish(normal(shape=(1, 8000)) * 2))
    quantizer = calibrated(kind, x, quant_bits=4, symmetric=symmetric)

    def real_error(grid):
        return float((np.abs(grid.fake_quantize(x).astype(float) - x) ** power).mean())

    found = real_error(quantizer.qparams[0])
    for fraction in np.linspace(0.05, 1, 60):
        threshold = float(np.abs(x).max() * fraction)
        low = max(float(x.min()), -threshold)
        grid = QParams.symmetric(threshold, num_bits=4) if symmetric else QParams.asymmetric(low, threshold, num_bits=4)
        assert found <= real_error(grid) * 1.01


def test_the_quietest_batch_does_not_decide():
    loud, quiet = normal(0, (8, 500)), normal(1, (8, 500)) * np.float32(0.01)
    for kind in (MSEQuantizer, EMDQuantizer):
        assert calibrated(kind, loud, quiet).thresholds[0] > 1
