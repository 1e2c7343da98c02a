"""Rounding without data keeps sums."""

from __future__ import annotations

import numpy as np
import paddle
from models import absmax, calibrated
from paddle import nn
from recovery_cases import rows, samples, small_net

from ptq import ImperativePTQ
from ptq.recovery.squant import round_sums, squant


def test_errors_of_kernels_and_channels_add_up_to_half_at_most() -> None:
    levels = rows(5, 7, 9) * 20
    found = round_sums(levels, (-127, 127))
    error = found - levels
    assert np.abs(error).max() < 1 + 1e-9
    assert np.abs(error.sum(axis=(1, 2))).max() <= 0.5 + 1e-9
    # moving one element for the channel's sake may leave a kernel at most one beyond its half
    assert np.abs(error.sum(axis=2)).max() <= 1.5 + 1e-9
    assert np.abs(round_sums(levels[:, :1], (-127, 127)).sum(axis=(1, 2)) - levels[:, :1].sum(axis=(1, 2))).max() <= 0.5 + 1e-9


def test_bounds_hold() -> None:
    levels = np.full((2, 3, 4), 6.6)
    assert round_sums(levels, (-7, 7)).max() <= 7


def test_it_takes_the_place_of_the_nearest_integers() -> None:
    calls = [sample.call()[0][0] for sample in samples(2)]
    net = small_net()
    prepared = calibrated(net, *calls, config=absmax(4))
    model = ImperativePTQ().convert(prepared, rounding=squant)
    for layer, twin in zip(net, model, strict=True):
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            axes = tuple(range(layer.weight.ndim))
            axis = 1 if isinstance(layer, nn.Linear) else 0
            factors = paddle.to_tensor(np.asarray(twin.weight_factors, dtype="float32"))
            error = (twin.weight_quantized.astype("float32") - layer.weight * factors / twin.weight_scale).numpy()
            assert np.abs(error.sum(axis=axes[:axis] + axes[axis + 1 :])).max() <= 0.5 + 1e-3
    with paddle.no_grad():
        assert np.isfinite(model(calls[0]).numpy()).all()
