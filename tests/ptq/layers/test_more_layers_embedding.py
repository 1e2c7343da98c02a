"""Embeddings: integer rows, ids that are no activation, and weights that stay tied."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
import pytest
from models import Net, absmax, converted, data, quietly, relative
from paddle import nn
from reloading import reload_gap, saved_bytes

from ptq import ImperativePTQ, PTQConfig, PTQRegistry
from ptq.layers import QuantizedEmbedding, QuantizedLinear
from quantizers import AbsmaxQuantizer, AutoQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import QuantizationWarning

PLACEMENTS = ("compute", "full")


def ids(*shape: int, high: int = 20, seed: int = 0) -> paddle.Tensor:
    """Token ids."""
    return paddle.to_tensor(np.random.default_rng(seed).integers(0, high, shape), dtype="int64")


def _config(placement: str, weight: Any = None) -> PTQConfig:
    return PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer() if weight is None else weight, placement=placement)


def _rows(weight: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales of each row, in float64."""
    top = 2 ** (bits - 1) - 1
    scale = np.abs(weight.astype(np.float64)).max(axis=1, keepdims=True) / top
    return np.clip(np.rint(weight / np.where(scale == 0, 1, scale)), -top, top), scale


class Lookup(nn.Layer):
    """An embedding, and a Linear behind it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.tok = nn.Embedding(20, 16, **options)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc(self.tok(x))


@pytest.mark.parametrize("bits", [8, 4, 12])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}, {"padding_idx": -1}, {"sparse": True}], ids=str)
def test_rows_are_those_of_float64_arithmetic(options: dict[str, Any], bits: int) -> None:
    model = Lookup(**options)
    weight = data(20, 16).numpy() * np.linspace(0.1, 5, 20)[:, None].astype("float32")
    model.tok.weight.set_value(weight)  # the padding row too: Paddle answers zeros for it whatever it holds
    twin = converted(model, ids(4, 6), config=absmax(8, bits)).tok
    integers, scale = _rows(weight, bits)
    assert isinstance(twin, QuantizedEmbedding)
    assert twin.weight_quantized.dtype == (paddle.int8 if bits <= 8 else paddle.int16)
    np.testing.assert_array_equal(twin.weight_quantized.numpy(), integers)
    np.testing.assert_allclose(twin.weight.numpy(), integers * scale, rtol=1e-6)
    expected = integers * scale
    if "padding_idx" in options:
        expected[options["padding_idx"]] = 0
    x = paddle.arange(20).reshape([4, 5])
    np.testing.assert_allclose(twin(x).numpy(), expected.reshape(4, 5, 16), rtol=1e-6)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_reloads_exactly_with_int8_rows(placement: str, tmp_path: Path) -> None:
    model, x = Lookup(padding_idx=3), ids(4, 6)
    quantized = converted(model, x, config=_config(placement))
    assert quantized.tok.input_qparams is None
    assert relative(quantized(x), model(x)) < 0.03
    assert reload_gap(quantized, tmp_path, ids(5, 6, seed=1)) == 0.0
    assert saved_bytes(tmp_path) < 20 * 16 + 20 * 4 + 16 * 4 + 800  # rows, their scales, Linear, file headers


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_embedding_called_twice(placement: str, tmp_path: Path) -> None:
    """Ids never get a grid."""
    model = Net(lambda net, x: net.fc(net.tok(x) + net.tok(x.flip(axis=1))), tok=nn.Embedding(20, 16), fc=nn.Linear(16, 4))
    quantized = converted(model, ids(4, 6), config=_config(placement))
    assert isinstance(quantized.tok, QuantizedEmbedding)
    assert not any("tok" in name and "input" in name for name, _ in quantized.named_sublayers())
    assert reload_gap(quantized, tmp_path, ids(4, 6)) == 0.0


def test_a_model_that_is_one_embedding(tmp_path: Path) -> None:
    model = nn.Embedding(20, 16)
    quantized = converted(model, ids(4, 6))
    assert isinstance(quantized, QuantizedEmbedding)
    assert reload_gap(quantized, tmp_path, ids(4, 6)) == 0.0


def test_an_embedding_before_an_activation() -> None:
    """Its output is not sampled then; it is quantized all the same."""
    model = Net(lambda net, x: net.fc(F.relu(net.tok(x))), tok=nn.Embedding(20, 16), fc=nn.Linear(16, 4))
    assert isinstance(converted(model, ids(4, 6)).tok, QuantizedEmbedding)


def test_int32_ids_and_one_row() -> None:
    model = nn.Embedding(1, 8)
    x = paddle.zeros([2, 3], dtype="int32")
    assert relative(converted(model, x)(x), model(x)) < 0.01


def test_max_norm_scales_rows_down_as_in_float() -> None:
    """Paddle cannot trace such a model, not in float either."""
    model = Net(lambda net, x: net.tok(x), tok=nn.Embedding(20, 16, max_norm=0.5))
    x = ids(4, 6)
    quantized = quietly(lambda: converted(model, x))
    answer = quantized(x)
    assert relative(answer, model(x)) < 0.02
    assert float(answer.norm(axis=-1).max()) <= 0.5 * (1 + 1e-5)


def test_never_called_stays_float_with_a_warning() -> None:
    model = Net(lambda net, x: net.fc(net.tok(x)), tok=nn.Embedding(20, 16), fc=nn.Linear(16, 4), extra=nn.Embedding(9, 4))
    with pytest.warns(QuantizationWarning, match="no calibration data reached them: extra"):
        quantized = converted(model, ids(4, 6))
    assert type(quantized.extra) is nn.Embedding


def test_skipped() -> None:
    model = Lookup()
    model.tok.skip_quant = True
    assert type(converted(model, ids(4, 6)).tok) is nn.Embedding


class _Scaled(nn.Embedding):
    """Ids that are looked up in a scaled table, as some transformers do."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.embedding(x, self.weight * 4.0)


def test_a_registered_subclass(tmp_path: Path) -> None:
    model = Net(lambda net, x: net.fc(net.tok(x)), tok=_Scaled(20, 16), fc=nn.Linear(16, 4))
    PTQRegistry.register(_Scaled)
    try:
        quantized, x = converted(model, ids(4, 6)), ids(4, 6)
        assert isinstance(quantized.tok, QuantizedEmbedding)
        assert isinstance(quantized.tok, _Scaled)
        np.testing.assert_allclose(quantized.tok(x).numpy(), quantized.tok.weight.numpy()[x.numpy()] * 4, rtol=1e-6)
        assert reload_gap(quantized, tmp_path, x) == 0.0
    finally:
        PTQRegistry.unregister(_Scaled)


@pytest.mark.parametrize("rule", [AutoQuantizer(), AbsmaxQuantizer()], ids=lambda rule: type(rule).__name__)
def test_with_every_kind_of_rule(rule: Any) -> None:
    """A choice among candidates needs none for ids; a rule per tensor works for rows as well."""
    config = PTQConfig(rule, AbsmaxQuantizer())
    quantized = converted(Lookup(), ids(4, 6), config=config)
    assert quantized.tok.weight_scale.numpy().size == 1
    assert quantized(ids(2, 3)).shape == [2, 3, 4]


class Tied(nn.Layer):
    """Token ids to logits; ``how`` the last weight is that of another layer."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.tok, self.mid = nn.Embedding(32, 32), nn.Linear(32, 32)
        if how != "function":
            self.head = nn.Linear(32, 32, bias_attr=False)
        if how == "embedding and Linear":
            self.head.weight = self.tok.weight
        if how == "two Linears":
            self.head.weight = self.mid.weight

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.mid(self.tok(x))
        return paddle.matmul(x, self.tok.weight, transpose_y=True) if self.how == "function" else self.head(x)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("how", ["function", "embedding and Linear", "two Linears"])
def test_tied_weights_are_stored_once(how: str, placement: str, tmp_path: Path) -> None:
    model, x = Tied(how), ids(4, 6, high=32)
    quantized = converted(model, x, config=_config(placement))
    assert relative(quantized(x), model(x)) < 0.04
    assert reload_gap(quantized, tmp_path, x) == 0.0
    weights = 2 * 32 * 32
    assert weights < saved_bytes(tmp_path) < weights + 1000  # neither three tables, nor one in float
    if how != "function":
        other = quantized.tok if how == "embedding and Linear" else quantized.mid
        for copied in (quantized, copy.deepcopy(quantized)):
            twin = copied.tok if how == "embedding and Linear" else copied.mid
            assert copied.head.weight_quantized is twin.weight_quantized
            assert copied.head.weight_scale is twin.weight_scale
        np.testing.assert_array_equal(other.weight.numpy(), quantized.head.weight.numpy())


def test_tied_layers_use_the_grid_that_a_kernel_needs() -> None:
    """A scale per output feature of the Linear, not per row of the embedding; the rows are those integers."""
    model, x = Tied("embedding and Linear"), ids(4, 6, high=32)
    weight = model.tok.weight.numpy().astype(np.float64)
    quantized = converted(model, x)
    scale = np.abs(weight).max(axis=0) / 127
    assert quantized.head.weight_scale.shape == [1, 32]
    np.testing.assert_allclose(quantized.tok(x).numpy(), (np.rint(weight / scale) * scale)[x.numpy()], rtol=1e-5, atol=1e-7)


def test_a_tied_head_reads_what_the_embedding_reads() -> None:
    quantized = converted(Tied("function"), ids(4, 6, high=32))
    hidden = quantized.mid(quantized.tok(ids(4, 6, high=32)))
    integers, scale = quantized.tok.weight_quantized.numpy().astype(np.float64), quantized.tok.weight_scale.numpy()
    expected = hidden.numpy().astype(np.float64) @ (integers * scale).T
    np.testing.assert_allclose(quantized(ids(4, 6, high=32)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_tied_parameter_outside_of_known_layers_is_named() -> None:
    model = Net(lambda net, x: paddle.matmul(net.tok(x), net.table, transpose_y=True), tok=nn.Embedding(20, 16))
    model.table = model.tok.weight
    with pytest.warns(QuantizationWarning, match="'table' is the weight of 'tok'"):
        converted(model, ids(4, 6))


def test_tied_weights_of_different_widths_are_named() -> None:
    model, x = Tied("two Linears"), ids(4, 6, high=32)
    prepared = ImperativePTQ(absmax()).quantize(model)
    prepared(x)
    prepared.head._quant_config.wt_quantizer = PerChannelAbsmaxQuantizer(4)
    with pytest.warns(QuantizationWarning, match=r"mid, head share one weight.*\[4, 8\] bits"):
        quantized = ImperativePTQ().convert(prepared)
    assert "weight_bits=8" in repr(quantized.head)


def test_the_float_model_is_untouched() -> None:
    model, x = Tied("embedding and Linear"), ids(4, 6, high=32)
    expected, keys = model(x).numpy(), list(model.state_dict())
    quietly(lambda: converted(model, x))
    np.testing.assert_array_equal(model(x).numpy(), expected)
    assert list(model.state_dict()) == keys
    assert isinstance(model.head, nn.Linear)
    assert not isinstance(model.head, QuantizedLinear)
    assert model.head.weight is model.tok.weight
