"""Saved models to spoil, in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from models import Net, converted, data, quietly
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from ptq.export.formats import FORMATS
from quantizers import AbsmaxQuantizer

__all__ = ["saved_models"]


def _net(channels: int) -> nn.Layer:
    model = Net(
        lambda m, x: m.fc(m.relu(m.conv(x)).mean([2, 3])), conv=nn.Conv2D(3, channels, 3), relu=nn.ReLU(), fc=nn.Linear(channels, 3)
    )
    model.eval()
    return model


def saved_models(folder: Path) -> Path:
    """Writes the quantized models ``a`` and ``b`` and their float baselines, without the checks, which take long."""
    state = paddle.get_rng_state(), np.random.get_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
        for name, made in FORMATS.items():
            patch.setitem(FORMATS, name, replace(made, check=lambda *_: []))
        for name, channels in (("a", 4), ("b", 5)):
            model = quietly(lambda c=channels: converted(_net(c), data(2, 3, 6, 6), config=PTQConfig(AbsmaxQuantizer(), placement="full")))
            ImperativePTQ().save_quantized_model(model, str(folder / name), formats=("jit", "onnx", "inference"), float_baseline=True)
    paddle.set_rng_state(state[0])
    np.random.set_state(state[1])
    return folder
