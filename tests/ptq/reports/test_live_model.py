"""A model that is looked at goes on answering as it does, in other threads too."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import paddle
import pytest
from models import absmax, converted, data, small_net
from paddle import nn

from ptq import PTQConfig, coverage
from ptq.convert.conversion import as_float
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

X = (4, 3, 6, 6)


def answer_elsewhere(model: nn.Layer) -> np.ndarray:
    """What the model answers to a request that another thread makes now."""
    found: list[np.ndarray] = []

    def ask() -> None:
        with paddle.no_grad():
            found.append(model(data(*X, seed=1)).numpy())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(60)
    assert found, "the thread failed"
    return found[0]


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.xfail(strict=True, reason="as_float puts the float layers into the live model while it is entered")
def test_as_float_leaves_the_converted_model_alone(placement: str) -> None:
    config = PTQConfig(AbsmaxQuantizer(4), PerChannelAbsmaxQuantizer(4), placement=placement)
    model = converted(small_net(), data(*X), config=config, fuse=True)
    expected = answer_elsewhere(model)
    with as_float(model) as baseline:
        np.testing.assert_array_equal(answer_elsewhere(model), expected)
        assert not np.array_equal(answer_elsewhere(baseline), expected)
    np.testing.assert_array_equal(answer_elsewhere(model), expected)


@pytest.mark.xfail(strict=True, reason="coverage takes the grids off the live model while it is traced")
def test_coverage_leaves_the_model_alone_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PTQConfig(AbsmaxQuantizer(4), PerChannelAbsmaxQuantizer(8), placement="full")
    model = converted(small_net(), data(*X), config=config, fuse=True)
    expected, seen, to_static = answer_elsewhere(model), [], paddle.jit.to_static

    def traced(*args: Any, **kwargs: Any) -> Any:
        seen.append(answer_elsewhere(model))
        return to_static(*args, **kwargs)

    monkeypatch.setattr(paddle.jit, "to_static", traced)
    assert coverage(model).untraced == ""
    assert seen, "coverage traced nothing"
    for answer in seen:
        np.testing.assert_array_equal(answer, expected)


def test_the_model_has_grids_that_matter() -> None:
    """Or the test of coverage could not fail."""
    model = converted(
        small_net(), data(*X), config=PTQConfig(AbsmaxQuantizer(4), PerChannelAbsmaxQuantizer(8), placement="full"), fuse=True
    )
    plain = converted(small_net(), data(*X), config=absmax(), fuse=True)
    assert not np.array_equal(answer_elsewhere(model), answer_elsewhere(plain))
