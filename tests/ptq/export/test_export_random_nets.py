"""Ten families of nets with random weights and inputs, their batch norms untouched, through every format: none is refused.

Values of such nets shrink from layer to layer, down to steps of 1e-9, which trained nets never show.  Weights have 7 bits, so that the
sums of two products fit 16 bits and processors without VNNI, whose int8 kernels saturate there, compute them rightly too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from models import quietly
from paddle import nn
from paddle.vision import models

from ptq import ImperativePTQ, PTQConfig
from quantizers import KLQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import MismatchError

NETS: dict[str, Callable[[], nn.Layer]] = {
    "mobilenet_v1": models.mobilenet_v1,
    "mobilenet_v2": models.mobilenet_v2,
    "mobilenet_v3_small": models.mobilenet_v3_small,
    "mobilenet_v3_large": models.mobilenet_v3_large,
    "resnet18": models.resnet18,
    "resnext50": models.resnext50_32x4d,
    "squeezenet1_1": models.squeezenet1_1,
    "shufflenet_v2_x0_25": models.shufflenet_v2_x0_25,
    "densenet121": models.densenet121,
    "googlenet": models.googlenet,
}


def refusal(build: Callable[[], nn.Layer], seed: int, folder: Path) -> str:
    """Why the net of that seed is refused in the three formats; empty when it is kept."""
    paddle.seed(seed)
    model = build()
    model.eval()
    engine = ImperativePTQ(PTQConfig(KLQuantizer(), PerChannelAbsmaxQuantizer(7), placement="full"))
    x = np.random.RandomState(seed + 1).randn(2, 3, 64, 64).astype("float32")

    def save() -> None:
        prepared = engine.quantize(model, fuse=True)
        with paddle.no_grad():
            prepared(paddle.to_tensor(x))
        engine.save_quantized_model(engine.convert(prepared), str(folder / "m"), formats=("jit", "onnx", "inference"), verbose=False)

    try:
        quietly(save)
    except MismatchError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETS)
def test_random_weights_are_kept_in_every_format(name: str, seed: int, tmp_path: Path) -> None:
    assert not refusal(NETS[name], seed, tmp_path)
