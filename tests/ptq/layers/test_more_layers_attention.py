"""Attention and transformer layers: through their Linears, and with placement full through their matrix products."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import converted, data, quietly, relative
from paddle import nn
from reloading import reload_gap, tensors

from ptq import ImperativePTQ, PTQConfig
from ptq.layers import QuantizedLayer
from ptq.layers.gridded import grids_of
from quantizers import AbsmaxQuantizer

CAUSAL = paddle.to_tensor(np.tril(np.ones((5, 5), bool)))
ADDED = paddle.to_tensor(np.triu(np.full((5, 5), -1e4), 1), dtype="float32")


class Attend(nn.Layer):
    """Self-attention with a mask."""

    def __init__(self, layer: nn.Layer) -> None:
        super().__init__()
        self.m = layer

    def forward(self, x: Any, mask: Any = None) -> Any:
        return self.m(x, attn_mask=mask)


class Encode(Attend):
    """An encoder with a mask."""

    def forward(self, x: Any, mask: Any = None) -> Any:
        return self.m(x, mask)


class Cross(Attend):
    """Queries on a memory."""

    def forward(self, x: Any, memory: Any) -> Any:
        return self.m(x, memory) if not isinstance(self.m, nn.MultiHeadAttention) else self.m(x, memory, memory)


class Steps(Attend):
    """Two steps of decoding with a cache."""

    def forward(self, x: Any, memory: Any) -> Any:
        cache = self.m.gen_cache(memory)
        output, cache = self.m(x[:, :1], memory, cache=cache)
        output, cache = self.m(x[:, 1:2], memory, cache=cache)
        return output


def _attention(**options: Any) -> nn.Layer:
    return nn.MultiHeadAttention(16, 2, **options)


X, MEMORY = data(2, 5, 16), data(2, 7, 16, seed=1)
CASES: dict[str, tuple[Any, tuple[Any, ...], int, int]] = {  # model, arguments, Linears, attentions (a call each)
    "plain": (lambda: Attend(_attention()), (X,), 4, 1),
    "mask of truths": (lambda: Attend(_attention()), (X, CAUSAL), 4, 1),
    "mask to add": (lambda: Attend(_attention()), (X, ADDED), 4, 1),
    "need_weights": (lambda: Attend(_attention(need_weights=True)), (X,), 4, 1),
    "kdim, vdim": (lambda: Cross(_attention(kdim=12, vdim=12)), (X, data(2, 7, 12)), 4, 1),
    "encoder": (lambda: Encode(nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2)), (X, ADDED), 12, 2),
    "pre-norm encoder": (
        lambda: Encode(nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", normalize_before=True), 1)),
        (X,),
        6,
        1,
    ),
    "decoder": (lambda: Cross(nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32), 1)), (X, MEMORY), 10, 2),
    "decoder with cache": (lambda: Steps(nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32), 1)), (X, MEMORY), 10, 4),
    "transformer": (lambda: Cross(nn.Transformer(16, 2, 1, 1, 32)), (X, MEMORY), 16, 3),
}


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("name", CASES)
def test_attention(name: str, placement: str, tmp_path: Path) -> None:
    make, args, linears, attentions = CASES[name]
    paddle.seed(0)
    model = make()
    model.eval()
    engine = ImperativePTQ(PTQConfig(AbsmaxQuantizer(), placement=placement))
    prepared = quietly(lambda: engine.quantize(model))
    quietly(lambda: prepared(*args))
    quantized = quietly(lambda: engine.convert(prepared))
    assert sum(isinstance(layer, QuantizedLayer) for layer in quantized.sublayers()) == linears
    assert sum(isinstance(layer, nn.Linear) for layer in quantized.sublayers()) == linears
    for answer, expected in zip(tensors(quantized(*args)), tensors(model(*args)), strict=True):
        assert relative(answer, expected) < (0.04 if placement == "compute" else 0.09)
    assert reload_gap(quantized, tmp_path, *args) == 0.0
    sites = list(grids_of(quantized))
    assert sum("softmax" in site for site in sites) == (attentions if placement == "full" else 0)
    if placement == "compute" and "cache" not in name:
        assert not sites


def test_both_operands_of_both_products_are_on_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores: queries by keys.  Context: probabilities by values."""
    model = Attend(_attention())
    quantized = converted(model, X, config=PTQConfig(AbsmaxQuantizer(), placement="full"))
    seen: list[Any] = []
    for module in (paddle, sys.modules["paddle.tensor"]):  # the attention layer looks the product up in both
        monkeypatch.setattr(module, "matmul", _noting(module.matmul, seen))
    quantized(X)
    assert len(seen) == 4
    for operand in seen:
        values = np.unique(operand.numpy().astype(np.float64))
        steps = np.diff(values) / np.diff(values).min()
        assert len(values) <= 256
        np.testing.assert_allclose(steps, np.rint(steps), atol=0.01)


def _noting(matmul: Any, seen: list[Any]) -> Any:
    def call(x: Any, y: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend((x, y))
        return matmul(x, y, *args, **kwargs)

    return call
