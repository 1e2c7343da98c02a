"""Weights that a norm computes, and layers that are only observed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, calibrated, converted, data, randomize_norms, relative
from paddle import nn
from reloading import reload_gap

from ptq import ImperativePTQ, PTQConfig, PTQRegistry
from ptq.layers import QuantizedConv2D, QuantizedLayer
from quantizers import AbsmaxQuantizer


def _weight_norm(layer: nn.Layer, dim: int) -> np.ndarray:
    """The weight in float64: direction times length."""
    v, g = layer.weight_v.numpy().astype(np.float64), layer.weight_g.numpy().astype(np.float64)
    axes = tuple(axis for axis in range(v.ndim) if axis != dim)
    shape = [-1 if axis == dim else 1 for axis in range(v.ndim)]
    return v / np.sqrt(np.square(v).sum(axis=axes, keepdims=True)) * g.reshape(shape)


def _spectral_norm(layer: nn.Layer, dim: int) -> np.ndarray:
    """The weight in float64: over its largest singular value, as far as power iteration knows it."""
    weight = layer.weight_orig.numpy().astype(np.float64)
    u, v = layer.weight_u.numpy().astype(np.float64), layer.weight_v.numpy().astype(np.float64)
    return weight / (u @ np.moveaxis(weight, dim, 0).reshape(weight.shape[dim], -1) @ v)


NORMS = {"weight_norm": (nn.utils.weight_norm, _weight_norm), "spectral_norm": (nn.utils.spectral_norm, _spectral_norm)}
LAYERS = {
    "Linear": (lambda: nn.Linear(6, 5), (4, 6), 1),
    "Conv2D": (lambda: nn.Conv2D(3, 4, 3), (2, 3, 8, 8), 0),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(3, 4, 3), (2, 3, 8, 8), 1),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("norm", NORMS)
def test_the_weight_of_eval_mode_is_quantized(norm: str, layer: str, tmp_path: Path) -> None:
    make, shape, dim = LAYERS[layer]
    apply, weight_of = NORMS[norm]
    model = Net(lambda net, x: net.layer(x), layer=apply(make(), dim=dim))
    model.train()
    model(data(*shape))  # spectral norm's vectors move in train mode
    model.eval()
    x, expected, keys = data(*shape, seed=1), model(data(*shape, seed=1)).numpy(), list(model.state_dict())
    prepared = ImperativePTQ().quantize(model)
    np.testing.assert_array_equal(prepared(x).numpy(), expected)
    assert not prepared.layer._forward_pre_hooks
    quantized = ImperativePTQ().convert(prepared)
    weight = weight_of(model.layer, dim)
    others = tuple(axis for axis in range(weight.ndim) if axis != dim)
    scale = np.abs(weight).max(axis=others, keepdims=True) / 127
    np.testing.assert_allclose(quantized.layer.weight.numpy(), weight, atol=float(scale.max()) * 0.501)
    np.testing.assert_allclose(quantized.layer.weight_scale.numpy(), scale, rtol=1e-5)
    assert reload_gap(quantized, tmp_path, x) == 0.0
    np.testing.assert_array_equal(model(x).numpy(), expected)  # and the original is as it was
    assert list(model.state_dict()) == keys
    assert len(model.layer._forward_pre_hooks) == 1


def test_weight_normed_layers_fold_their_batch_norms() -> None:
    model = Net(lambda net, x: net.bn(net.conv(x)), conv=nn.utils.weight_norm(nn.Conv2D(3, 4, 3)), bn=nn.BatchNorm2D(4))
    randomize_norms(model)
    x = data(2, 3, 8, 8)
    quantized = converted(model, x, fuse=True)
    assert isinstance(quantized.conv, QuantizedConv2D)
    assert isinstance(quantized.bn, nn.Identity)
    assert relative(quantized(x), model(x)) < 0.03


def test_freezing_leaves_random_numbers_and_skipped_layers_alone() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 6)), nn.utils.weight_norm(nn.Linear(6, 5)))
    model[1].skip_quant = True
    paddle.seed(7)
    expected = paddle.rand([3]).numpy()
    paddle.seed(7)
    prepared = ImperativePTQ().quantize(model)
    np.testing.assert_array_equal(paddle.rand([3]).numpy(), expected)
    assert list(prepared[0]._parameters) == ["bias", "weight"]
    assert sorted(prepared[1]._parameters) == ["bias", "weight_g", "weight_v"]


OBSERVED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 6, 6)),
    "InstanceNorm1D": (lambda: nn.InstanceNorm1D(4), (2, 4, 6)),
    "InstanceNorm2D": (lambda: nn.InstanceNorm2D(4), (2, 4, 6, 6)),
    "InstanceNorm3D": (lambda: nn.InstanceNorm3D(4), (2, 4, 3, 3, 3)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), (2, 4, 6, 6)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 4, 6, 6)),
    "UpsamplingBilinear2D": (lambda: nn.UpsamplingBilinear2D(scale_factor=2), (2, 4, 6, 6)),
    "Pad2D": (lambda: nn.Pad2D(1, mode="constant", value=3.0), (2, 4, 6, 6)),
}
TRANSPARENT: dict[str, tuple[Any, tuple[int, ...]]] = {
    "PixelShuffle": (lambda: nn.PixelShuffle(2), (2, 4, 6, 6)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), (2, 4, 6, 6)),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), (2, 4, 6, 6)),
    "Unflatten": (lambda: nn.Unflatten(1, [2, 2]), (2, 4, 6, 6)),
    "UpsamplingNearest2D": (lambda: nn.UpsamplingNearest2D(scale_factor=2), (2, 4, 6, 6)),
    "ZeroPad2D": (lambda: nn.ZeroPad2D(1), (2, 4, 6, 6)),
}


@pytest.mark.parametrize("name", [*OBSERVED, *TRANSPARENT])
def test_observed_and_transparent_layers(name: str, tmp_path: Path) -> None:
    make, shape = (OBSERVED | TRANSPARENT)[name]
    model = Net(lambda net, x: net.fc(net.layer(x)).mean(), layer=make(), fc=nn.Linear(_last(make(), shape), 3))
    prepared = calibrated(model, data(*shape))
    config = prepared.layer._quant_config
    assert config.enable_out_act_quantizer == (name in OBSERVED)
    assert config.out_act_quantizer.sampled == (name in OBSERVED)
    assert not config.enable_in_act_quantizer
    for placement in ("compute", "full"):
        quantized = converted(model, data(*shape), config=PTQConfig(AbsmaxQuantizer(), placement=placement))
        assert type(quantized.layer) is type(model.layer)
        assert isinstance(quantized.fc, QuantizedLayer)
        assert reload_gap(quantized, tmp_path, data(*shape)) == 0.0


def _last(layer: nn.Layer, shape: tuple[int, ...]) -> int:
    return int(layer(data(*shape)).shape[-1])


@pytest.mark.parametrize("layer", [nn.Embedding, nn.LSTM, nn.GRUCell])
def test_facts_in_the_registry(layer: type[nn.Layer]) -> None:
    assert PTQRegistry.is_supported_layer(layer)
    assert PTQRegistry.is_weight_only_layer(layer) == (layer is nn.Embedding)
    assert PTQRegistry.is_simulated_quant_layer(layer) == (layer is not nn.Embedding)
    assert PTQRegistry.layer_info(layer).quant_axis == 0
