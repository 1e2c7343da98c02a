"""A layer that is called at several places: a grid for each place where the trace allows, otherwise one and a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from models import Branching, Net, absmax, calibrated, converted, data
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from ptq.layers.gridded import grids_of
from quantizers import AbsmaxQuantizer, AutoQuantizer


def _twin_branches(gain: float = 50.0) -> nn.Layer:
    """One convolution for two branches whose inputs differ in range."""
    paddle.seed(0)
    return Net(lambda m, x: (m.conv(x), m.conv(gain * x)), conv=nn.Conv2D(3, 8, 3, padding=1))


def _sqnr(expected: paddle.Tensor, answer: paddle.Tensor) -> float:
    e, a = expected.numpy().astype(np.float64), answer.numpy().astype(np.float64)
    return float(10 * np.log10(np.square(e).sum() / np.square(a - e).sum()))


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_the_weaker_branch_gains_15_db_over_one_merged_grid(placement: str, tmp_path: Path) -> None:
    model, x = _twin_branches(), data(4, 3, 8, 8)
    separate = converted(model, x, config=PTQConfig(AbsmaxQuantizer(), placement=placement))
    merged = converted(model, x, config=absmax())
    merged.conv.set_input_grid(_merged_grid(model, x))
    answers = [answer[0] for answer in (separate(x), _plain(merged, x))]
    gain = _sqnr(model(x)[0], answers[0]) - _sqnr(model(x)[0], answers[1])
    assert gain >= 15
    assert isinstance(separate.conv.weight_quantized, paddle.Tensor)  # the weights stay shared
    ImperativePTQ().save_quantized_model(separate, str(tmp_path / "m"))


def _merged_grid(model: nn.Layer, x: paddle.Tensor) -> Any:
    quantizer = AbsmaxQuantizer()
    quantizer.sample_data(model.conv, (x,))
    quantizer.sample_data(model.conv, (50.0 * x,))
    quantizer.cal_thresholds()
    return quantizer.qparams[0]


def _plain(model: nn.Layer, x: paddle.Tensor) -> Any:
    return model.conv(x), model.conv(50.0 * x)


def test_every_call_has_a_grid_of_its_own_range() -> None:
    x = data(4, 3, 8, 8)
    model = converted(_twin_branches(), x, config=absmax())
    grids = grids_of(model)
    assert set(grids) == {"conv:input", "conv@1:input"}
    first, second = (float(grids[site].input_scale) for site in ("conv:input", "conv@1:input"))
    assert second == pytest.approx(50 * first, rel=1e-5)
    assert model.conv.input_qparams is None


def test_a_layer_called_once_keeps_its_own_grid() -> None:
    model = converted(Net(lambda m, x: F.relu(m.conv(x)), conv=nn.Conv2D(3, 4, 3)), data(2, 3, 8, 8))
    assert not grids_of(model)
    assert model.conv.input_qparams is not None


def test_auto_judges_each_call_by_its_own_output() -> None:
    model, x = _twin_branches(), data(16, 3, 8, 8)
    twin = converted(model, x, config=PTQConfig(AutoQuantizer()))
    assert _sqnr(model(x)[0], twin(x)[0]) > 30
    assert _sqnr(model(x)[1], twin(x)[1]) > 30


def test_without_places_there_is_one_range_and_a_warning_with_the_gap() -> None:
    model = Branching()
    model.fc.weight.set_value(paddle.eye(4))
    prepared = calibrated(model, data(8, 4), config=absmax())
    with pytest.warns(UserWarning, match=r"'fc'.*2 calls.*6\.0 bits"):
        twin = ImperativePTQ().convert(prepared)
    assert twin.fc.input_qparams is not None
