"""Other floating-point types: statistics and grids in float32, activations in their own; and types changed after conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, converted, data, quietly, relative
from paddle import nn
from reloading import reload_gap

from ptq import ImperativePTQ, PTQConfig
from ptq.layers import QuantizedActivation
from quantizers import AbsmaxQuantizer, QParams

LAYERS: dict[str, tuple[Callable[[], nn.Layer], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "Conv2D": (lambda: nn.Conv2D(3, 4, 3), (2, 3, 6, 6)),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(3, 4, 3), (2, 3, 6, 6)),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(16, 2), (2, 5, 16)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_float64_models(name: str, tmp_path: Path) -> None:
    make, shape = LAYERS[name]
    model = make()
    model.eval()
    model.to(dtype="float64")
    x = data(*shape).astype("float64")
    quantized = converted(model, x)
    assert quantized(x).dtype == paddle.float64
    assert relative(quantized(x), model(x)) < 0.03
    assert reload_gap(quantized, tmp_path, x) == 0.0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_embedding_and_grid(dtype: str, tmp_path: Path) -> None:
    """Paddle on a CPU has neither a Linear nor a convolution in these types, but look-ups, and all that a grid is made of."""
    model = nn.Embedding(20, 16)
    model.to(dtype=dtype)
    ids = paddle.to_tensor([[1, 2, 3]])
    quantized = quietly(lambda: converted(model, ids))
    assert quantized(ids).dtype == getattr(paddle, dtype)
    assert quantized.weight.dtype == getattr(paddle, dtype)
    assert quantized.weight_scale.dtype == paddle.float32
    assert relative(quantized(ids), model(ids)) < 0.01
    assert reload_gap(Net(lambda net, x: net.tok(x).astype("float32"), tok=quantized), tmp_path, ids) == 0.0
    x = data(4, 6).astype(dtype)
    rounded = QuantizedActivation.from_grid(QParams.symmetric(float(x.astype("float32").abs().max())))(x)
    assert rounded.dtype == x.dtype
    assert relative(rounded, x) < 0.01


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_statistics_of_half_precision_are_float32(dtype: str) -> None:
    model = Net(lambda net, x: net.fc(net.tok(x).astype("float32")), tok=nn.Embedding(20, 6), fc=nn.Linear(6, 5))
    model.tok.to(dtype=dtype)
    prepared = quietly(lambda: ImperativePTQ().quantize(model))
    ids = paddle.to_tensor([[1, 2, 3]])
    prepared(ids)
    (statistics,) = prepared.tok._quant_config.out_act_quantizer.statistics
    assert statistics.abs_max == float(model.tok(ids).astype("float32").abs().max())
    assert relative(ImperativePTQ().convert(prepared)(ids), model(ids)) < 0.03


def test_autocast_and_decorate() -> None:
    """On a CPU Paddle's `amp.decorate` leaves a model float32; where it does not, autocast calls layers as ever."""
    model, x = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5)), data(4, 6)
    model.eval()
    decorated = paddle.amp.decorate(model, level="O2", dtype="bfloat16")
    prepared = ImperativePTQ().quantize(decorated)
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        prepared(x)
    quantized = ImperativePTQ().convert(prepared)
    assert relative(quantized(x), model(x)) < 0.03


CHANGES: dict[str, Callable[[nn.Layer], Any]] = {
    "to": lambda model: model.to(dtype="float64"),
    "to a device too": lambda model: model.to("cpu", "float64"),
    "astype": lambda model: model.astype("float64"),
    "to and back": lambda model: model.to(dtype="float64").to(dtype="float32"),
    "device alone": lambda model: model.to("cpu"),
    "half and back": lambda model: model.bfloat16().float(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_converted_model_keeps_its_integers(change: str, tmp_path: Path) -> None:
    """Paddle casts every buffer; integers in float would be four times as large, scales in half precision wrong."""
    model = Net(lambda net, x: net.fc(net.tok(x)), tok=nn.Embedding(20, 6), fc=nn.Linear(6, 5))
    ids = paddle.to_tensor([[1, 2, 3], [4, 5, 6]])
    quantized = converted(model, ids)
    before = {name: buffer.numpy() for name, buffer in quantized.named_buffers()}
    expected = quantized(ids)
    CHANGES[change](quantized)
    after = dict(quantized.named_buffers())
    assert len(before) == len(after) == 6
    for name, value in before.items():
        assert after[name].dtype == (paddle.int8 if name.endswith("_quantized") else paddle.float32)
        np.testing.assert_array_equal(after[name].numpy(), value)
    answer = quantized(ids)
    assert answer.dtype == (paddle.float64 if change in ("to", "to a device too", "astype") else paddle.float32)
    assert relative(answer, expected) <= (1e-2 if "half" in change else 1e-6)  # the bias was rounded on the way
    assert quantized.fc.weight.dtype == answer.dtype
    assert reload_gap(quantized, tmp_path, ids) == 0.0


def test_activation_grids_keep_their_scales() -> None:
    model, x = nn.Linear(6, 5), data(4, 6)
    quantized = converted(model, x, config=PTQConfig(AbsmaxQuantizer(), placement="full"))
    expected = quantized(x)
    quantized.to(dtype="float64")
    assert all(tensor.dtype in (paddle.int8, paddle.float32) for _, tensor in quantized.named_buffers())
    assert relative(quantized(x.astype("float64")), expected) <= 1e-6
