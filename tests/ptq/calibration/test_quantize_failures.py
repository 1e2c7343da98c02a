"""A model that `quantize` refuses is left as it was, also when it was to be prepared in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, data, randomize_norms
from paddle import nn
from paddle.static import InputSpec

from ptq import ImperativePTQ, PTQConfig
from ptq.calibration.hooks import is_calibrating
from quantizers.errors import TraceError


def _forward(model: nn.Layer, x: Any) -> Any:
    x = model.bn(model.conv(x))
    return model.last(x) if paddle.mean(x) > -100 else x


def branching() -> nn.Layer:
    """A batch norm to fold, and a branch on data, which placement 'full' refuses."""
    return randomize_norms(Net(_forward, conv=nn.Conv2D(3, 3, 1), bn=nn.BatchNorm2D(3), last=nn.Conv2D(3, 3, 1)))


@pytest.mark.parametrize("fuse_list", [None, [["conv", "bn"]]])
@pytest.mark.xfail(strict=True, reason="batch norms are folded and hooks attached before the branch is found and refused")
def test_a_model_that_branches_is_refused_before_it_is_changed(fuse_list: Any) -> None:
    model, x = branching(), data(2, 3, 4, 4)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    names, expected = [name for name, _ in model.named_sublayers()], model(x).numpy()
    with pytest.raises(TraceError, match="branches or loops on data"):
        ImperativePTQ(PTQConfig(placement="full")).quantize(
            model, inplace=True, fuse=True, fuse_list=fuse_list, input_spec=[InputSpec([None, 3, 4, 4], "float32")]
        )
    assert not is_calibrating(model)
    assert not any(hasattr(layer, "_quant_config") for layer in model.sublayers(include_self=True))
    assert not hasattr(model, "_ptq_observation")
    assert [name for name, _ in model.named_sublayers()] == names
    assert isinstance(model.bn, nn.BatchNorm2D)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])
    np.testing.assert_array_equal(model(x).numpy(), expected)
    ImperativePTQ().quantize(model, inplace=True)  # with another placement it can be prepared still
