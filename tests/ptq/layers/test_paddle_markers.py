"""Layers that Paddle's own quantization leaves in a model to mark a place: they compute nothing, and are traced through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, data
from paddle import nn
from paddle.nn.quant import QuantStub
from paddle.nn.quant.quant_layers import MAOutputScaleLayer, MovingAverageAbsMaxScale

from ptq import ImperativePTQ, PTQConfig, coverage, load

STATIC = "Paddle's marker calls an operation that only a static program has, so that the model can be neither traced nor saved"


def stubbed(marker: Callable[[], nn.Layer]) -> nn.Layer:
    """A net with a marker at its input."""
    return Net(lambda m, x: m.fc(nn.functional.relu(m.marker(x) + 1.0)), fc=nn.Linear(4, 4), marker=marker())


MARKERS: dict[str, Callable[[], nn.Layer]] = {
    "QuantStub": QuantStub,
    "MovingAverageAbsMaxScale": MovingAverageAbsMaxScale,
    "MAOutputScaleLayer": lambda: MAOutputScaleLayer(nn.Identity()),
}


def quantized(model: nn.Layer, placement: str) -> nn.Layer:
    engine = ImperativePTQ(PTQConfig(absmax().in_act_quantizer, absmax().wt_quantizer, placement=placement))
    model = engine.quantize(model)
    with paddle.no_grad():
        model(data(4, 4))
    return engine.convert(model)


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.xfail(strict=True, reason=STATIC)
def test_a_model_with_a_marker_is_traced_and_saved_without_it(marker: str, placement: str, tmp_path: Path) -> None:
    model, plain = stubbed(MARKERS[marker]), stubbed(nn.Identity)
    plain.fc.set_state_dict(model.fc.state_dict())
    converted, expected = quantized(model, placement), quantized(plain, placement)
    x = data(3, 4, seed=1)
    with paddle.no_grad():
        answer = converted(x).numpy()
        np.testing.assert_array_equal(answer, expected(x).numpy())
    assert coverage(converted).int8_share == coverage(expected).int8_share
    ImperativePTQ().save_quantized_model(converted, str(tmp_path / "m"), verbose=False)
    np.testing.assert_array_equal(load(tmp_path / "m")(x).numpy(), answer)
    program = (tmp_path / "m.json").read_text()
    assert "moving_average" not in program
    assert _sizes(tmp_path / "m.pdiparams") == _sizes_of(expected, tmp_path / "plain")


def _sizes(parameters: Path) -> int:
    return parameters.stat().st_size


def _sizes_of(model: Any, prefix: Path) -> int:
    ImperativePTQ().save_quantized_model(model, str(prefix), verbose=False)
    return _sizes(Path(f"{prefix}.pdiparams"))
