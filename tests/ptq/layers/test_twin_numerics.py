"""A twin computes what its float layer does, over every setting of every layer; its weight is what an oracle in float64 says."""

from __future__ import annotations

import inspect

import numpy as np
import paddle
import pytest
from models import absmax, converted, data, relative
from twin_cases import ONE_OF_EACH, TWIN_CASES, TwinCase

from ptq import ImperativePTQ, PTQConfig, PTQRegistry
from ptq.layers import QuantizedLayer, QuantizedLinear
from quantizers import AbsmaxQuantizer, MinMaxQuantizer, QParams
from quantizers.errors import QuantizationWarning


def _twin_of(case: TwinCase, bits: int, weight_bits: int | None = None) -> tuple[paddle.nn.Layer, paddle.nn.Layer, paddle.Tensor]:
    """The float layer, its twin, and the layer's input."""
    layer = case.make()
    if layer.bias is not None:
        layer.bias.set_value(data(*layer.bias.shape, seed=1))
    x = data(*case.shape, seed=2)
    engine = ImperativePTQ(absmax(bits, weight_bits))
    model = engine.quantize(layer)
    model(x, **case.arguments)
    return layer, engine.convert(model), x


@pytest.mark.parametrize("case", TWIN_CASES)
def test_sixteen_bits_equal_the_float_layer(case: TwinCase) -> None:
    layer, twin, x = _twin_of(case, bits=16)
    assert isinstance(twin, QuantizedLayer)
    difference = relative(twin(x, **case.arguments), layer(x, **case.arguments))
    assert 0 < difference <= 1e-3  # exactly zero would mean that nothing was quantized


@pytest.mark.parametrize("case", TWIN_CASES)
def test_weight_is_the_dequantized_weight(case: TwinCase) -> None:
    layer, twin, _ = _twin_of(case, bits=8)
    weight = layer.weight.numpy().astype(np.float64)
    channels = case.channels_of(weight)
    largest = np.array([np.abs(weight[channels == channel]).max() for channel in range(channels.max() + 1)])
    scale = (largest / 127).astype(np.float32).astype(np.float64)[channels]
    expected = np.rint(weight / scale) * scale
    np.testing.assert_allclose(twin.weight.numpy(), expected, rtol=1e-6, atol=0)
    assert twin.weight.shape == layer.weight.shape
    assert twin.weight.dtype == layer.weight.dtype


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_called_by_keyword(case: TwinCase) -> None:
    layer = case.make()
    x = data(*case.shape)
    name = next(iter(inspect.signature(layer.forward).parameters))
    engine = ImperativePTQ(absmax(16))
    model = engine.quantize(layer)
    model(**{name: x})
    twin = engine.convert(model)
    assert isinstance(twin, QuantizedLayer)
    assert relative(twin(**{name: x}), layer(x)) <= 1e-3
    np.testing.assert_array_equal(twin(**{name: x}).numpy(), twin(x).numpy())


@pytest.mark.parametrize(("bits", "dtype"), [(2, "int8"), (4, "int8"), (8, "int8"), (9, "int16"), (16, "int16")])
@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_weights_are_stored_as_integers(case: TwinCase, bits: int, dtype: str) -> None:
    layer, twin, _ = _twin_of(case, bits=8, weight_bits=bits)
    stored = twin.weight_quantized
    assert str(stored.dtype) == f"paddle.{dtype}"
    assert stored.shape == layer.weight.shape
    assert int(stored.astype("int32").abs().max()) == 2 ** (bits - 1) - 1
    assert "weight" not in twin._parameters
    for name in ("weight_scale", "input_scale"):
        assert getattr(twin, name).dtype == paddle.float32, name
        assert name in twin._buffers


@pytest.mark.parametrize("case", ONE_OF_EACH)
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_input_is_rounded_to_its_grid(case: TwinCase, bits: int) -> None:
    layer, twin, x = _twin_of(case, bits=bits)
    seen = twin.quantize_input(x).numpy()
    step = np.abs(x.numpy()).max() / (2 ** (bits - 1) - 1)
    assert len(np.unique(seen)) <= 2**bits
    assert 0 < np.abs(seen - x.numpy()).max() <= step / 2 * 1.001
    layer.weight.set_value(twin.weight)
    assert relative(twin(x, **case.arguments), layer(paddle.to_tensor(seen), **case.arguments)) <= 1e-6


def test_one_scale_for_the_whole_weight() -> None:
    layer = paddle.nn.Linear(6, 5)
    twin = converted(layer, data(4, 6), config=PTQConfig(AbsmaxQuantizer(), AbsmaxQuantizer(8)))
    assert twin.weight_scale.numpy().size == 1
    step = np.abs(layer.weight.numpy()).max() / 127
    np.testing.assert_allclose(twin.weight.numpy(), np.rint(layer.weight.numpy() / step) * step, rtol=1e-6)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_channel_axis_that_the_registry_names(case: TwinCase) -> None:
    assert PTQRegistry.layer_info(case.make()).quant_axis == case.channel_axis


def test_wide_and_narrow_channels_keep_their_own_scales() -> None:
    """With one scale, or scales along the wrong axis, the narrow column would be lost."""
    layer = paddle.nn.Linear(4, 4, bias_attr=False)
    layer.weight.set_value(data(4, 4).numpy() * np.float32([1e3, 1, 1e-3, 1]))
    twin = converted(layer, data(16, 4))
    error = np.abs(twin.weight.numpy() - layer.weight.numpy()).max(axis=0)
    assert (error <= np.abs(layer.weight.numpy()).max(axis=0) / 250).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_other_float_dtypes(dtype: str) -> None:
    layer = paddle.nn.Linear(6, 5)
    layer.to(dtype=dtype)
    twin = QuantizedLinear.from_float(layer, QParams.symmetric(3.0), QParams.symmetric(1.0))
    assert twin.weight.dtype == layer.weight.dtype
    assert relative(twin.weight, layer.weight) <= 0.01
    assert twin.quantize_input(data(4, 6).astype(dtype)).dtype == layer.weight.dtype


def test_float64_end_to_end() -> None:
    layer = paddle.nn.Linear(6, 5)
    layer.to(dtype="float64")
    x = data(4, 6).astype("float64")
    twin = converted(layer, x, config=absmax(16))
    assert twin(x).dtype == paddle.float64
    assert relative(twin(x), layer(x)) <= 1e-3


def test_zero_weight_and_zero_input() -> None:
    layer = paddle.nn.Linear(3, 2)
    layer.weight.set_value(paddle.zeros([3, 2]))
    layer.bias.set_value(paddle.to_tensor([1.0, -2.0]))
    with pytest.warns(QuantizationWarning, match="every number of its weight is 0"):
        twin = converted(layer, paddle.zeros([4, 3]))
    np.testing.assert_array_equal(twin(data(4, 3)).numpy(), np.tile(layer.bias.numpy(), (4, 1)))


def test_values_beyond_the_calibrated_range_are_clipped() -> None:
    layer = paddle.nn.Linear(1, 1, bias_attr=False)
    beyond = paddle.to_tensor([[-5.0], [0.0], [9.0]])
    signed = converted(layer, paddle.to_tensor([[-1.0], [2.0]])).quantize_input(beyond)
    np.testing.assert_allclose(signed.numpy().ravel(), [-2.0, 0.0, 2.0], atol=0.02)  # abs-max is symmetric
    unsigned = converted(layer, paddle.to_tensor([[0.0], [2.0]]), config=PTQConfig(MinMaxQuantizer())).quantize_input(beyond)
    np.testing.assert_allclose(unsigned.numpy().ravel(), [0.0, 0.0, 2.0], atol=1e-6)
    asymmetric = converted(layer, paddle.to_tensor([[-1.0], [2.0]]), config=PTQConfig(MinMaxQuantizer())).quantize_input(beyond)
    np.testing.assert_allclose(asymmetric.numpy().ravel(), [-1.0, 0.0, 2.0], atol=0.01)
    assert asymmetric.numpy().ravel()[1] == 0
