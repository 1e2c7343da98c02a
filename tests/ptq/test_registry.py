"""The registry: what is supported, by class and by instance; what may be added; what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import paddle
import pytest
from models import converted, data
from paddle import nn
from paddle.nn import quant
from twin_cases import ONE_OF_EACH, TwinCase

import ptq
from ptq import LayerInfo, PTQRegistry
from ptq.layers import QuantizedConv2D, QuantizedLayer, QuantizedLinear
from quantizers.errors import ConfigError, QuantizationError

OBSERVED = [
    *(nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D),
    *(nn.AvgPool1D, nn.AvgPool2D, nn.AvgPool3D, nn.MaxPool1D, nn.MaxPool2D, nn.MaxPool3D),
    *(nn.AdaptiveAvgPool1D, nn.AdaptiveAvgPool2D, nn.AdaptiveAvgPool3D),
    *(nn.AdaptiveMaxPool1D, nn.AdaptiveMaxPool2D, nn.AdaptiveMaxPool3D),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardswish, nn.Hardsigmoid, nn.Swish, nn.Silu, nn.GELU, nn.Sigmoid, nn.Tanh),
    *(nn.Softmax, nn.LayerNorm, nn.Dropout, nn.Identity),
    *(quant.add, quant.subtract, quant.multiply, quant.divide, quant.matmul, quant.concat, quant.reshape, quant.transpose, quant.flatten),
    ptq.FloatFunctional,
]
UNKNOWN = [nn.RNN, nn.Bilinear, nn.Sequential, nn.Conv2D.__mro__[1], nn.Layer, nn.MultiHeadAttention]


class _Scaled(nn.Linear):
    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return nn.functional.linear(x, self.weight, self.bias) * 2


class _Foreign(nn.Layer):
    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x


@pytest.fixture
def restored() -> Iterator[None]:
    """Takes back what a test registered."""
    infos, twins = dict(PTQRegistry._infos), dict(PTQRegistry._twins)
    yield
    PTQRegistry._infos, PTQRegistry._twins = infos, twins


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_simulated_layers_by_class_and_instance(case: TwinCase) -> None:
    layer = case.make()
    for item in (layer, type(layer)):
        assert PTQRegistry.is_supported_layer(item)
        assert PTQRegistry.is_registered_layer(item)
        assert PTQRegistry.is_simulated_quant_layer(item)
        assert not PTQRegistry.is_quantized_layer(item)
        info = PTQRegistry.layer_info(item)
        assert info.layer is type(layer)
        assert [len(info.input_names), len(info.weight_names), len(info.output_names)] == [1, 1, 1]


@pytest.mark.parametrize("layer", OBSERVED)
def test_observed_layers(layer: type[nn.Layer]) -> None:
    assert PTQRegistry.is_supported_layer(layer)
    assert PTQRegistry.is_registered_layer(layer)
    assert not PTQRegistry.is_simulated_quant_layer(layer)
    assert PTQRegistry.layer_info(layer).weight_names == []
    assert PTQRegistry.layer_info(layer).output_names


def test_names_are_those_of_the_operators() -> None:
    convolution, linear = PTQRegistry.layer_info(nn.Conv2D), PTQRegistry.layer_info(nn.Linear)
    assert (convolution.input_names, convolution.weight_names, convolution.output_names) == (["Input"], ["Filter"], ["Output"])
    assert (linear.input_names, linear.weight_names, linear.output_names) == (["X"], ["Y"], ["Out"])
    assert PTQRegistry.layer_info(nn.BatchNorm2D).output_names == ["Y"]
    assert PTQRegistry.layer_info(quant.add).input_names == ["X", "Y"]


@pytest.mark.parametrize("layer", UNKNOWN)
def test_unknown_layers(layer: type[nn.Layer]) -> None:
    assert not PTQRegistry.is_supported_layer(layer)
    assert not PTQRegistry.is_registered_layer(layer)
    assert not PTQRegistry.is_simulated_quant_layer(layer)
    with pytest.raises(ConfigError, match=f"{layer.__name__} is not registered"):
        PTQRegistry.layer_info(layer)


@pytest.mark.parametrize("thing", [3, "Linear", None, int])
def test_what_is_no_layer(thing: object) -> None:
    assert not PTQRegistry.is_supported_layer(thing)
    assert not PTQRegistry.is_registered_layer(thing)
    with pytest.raises(ConfigError):
        PTQRegistry.layer_info(thing)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_quantized_twins_are_registered_but_not_supported(case: TwinCase) -> None:
    twin = converted(case.make(), data(*case.shape))
    for item in (twin, type(twin)):
        assert PTQRegistry.is_quantized_layer(item)
        assert PTQRegistry.is_registered_layer(item)
        assert not PTQRegistry.is_supported_layer(item)
        assert not PTQRegistry.is_simulated_quant_layer(item)
        assert PTQRegistry.layer_info(item).layer is type(case.make())


def test_twin_class() -> None:
    assert PTQRegistry.twin_class(nn.Conv2D(1, 1, 1)) is QuantizedConv2D
    assert PTQRegistry.twin_class(nn.Linear) is QuantizedLinear
    assert issubclass(QuantizedLinear, QuantizedLayer)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("again", [nn.Conv2D, LayerInfo(nn.Conv2D, ["Input"], ["Filter"], ["Output"])], ids=["class", "info"])
def test_duplicates_are_rejected(again: object) -> None:
    before = PTQRegistry.layer_info(nn.Conv2D)
    with pytest.raises(ConfigError, match="Conv2D is registered already"):
        PTQRegistry.register(again)
    assert PTQRegistry.layer_info(nn.Conv2D) is before


@pytest.mark.usefixtures("restored")
def test_an_entry_can_be_replaced_on_purpose() -> None:
    info = LayerInfo(nn.Conv2D, ["Input"], ["Filter"], ["Output"])
    PTQRegistry.register(info, replace=True)
    assert PTQRegistry.layer_info(nn.Conv2D) is info
    assert PTQRegistry.twin_class(nn.Conv2D) is QuantizedConv2D
    assert info.quant_axis == 0  # from the entry that was replaced


@pytest.mark.usefixtures("restored")
def test_subclass_inherits_the_facts_of_its_base() -> None:
    assert not PTQRegistry.is_supported_layer(_Scaled)
    assert PTQRegistry.overridden_base(_Scaled) is nn.Linear
    PTQRegistry.register(_Scaled)
    info = PTQRegistry.layer_info(_Scaled)
    assert (info.layer, info.quant_axis, info.weight_names) == (_Scaled, 1, ["Y"])
    assert PTQRegistry.is_simulated_quant_layer(_Scaled)
    assert PTQRegistry.twin_class(_Scaled) is QuantizedLinear
    assert PTQRegistry.overridden_base(_Scaled) is None
    PTQRegistry.unregister(_Scaled)
    assert not PTQRegistry.is_supported_layer(_Scaled)
    PTQRegistry.unregister(_Scaled)  # nothing to take back


@pytest.mark.usefixtures("restored")
def test_a_foreign_layer_can_be_observed() -> None:
    with pytest.raises(ConfigError, match="register a LayerInfo"):
        PTQRegistry.register(_Foreign)
    PTQRegistry.register(LayerInfo(_Foreign, ["X"], [], ["Out"], nonnegative=True))
    assert PTQRegistry.is_supported_layer(_Foreign())
    assert not PTQRegistry.is_simulated_quant_layer(_Foreign)
    assert PTQRegistry.layer_info(_Foreign).nonnegative


@pytest.mark.usefixtures("restored")
def test_a_foreign_layer_with_weights_needs_a_twin() -> None:
    with pytest.raises(ConfigError, match="pass twin="):
        PTQRegistry.register(LayerInfo(_Foreign, ["X"], ["W"], ["Out"]))
    assert not PTQRegistry.is_registered_layer(_Foreign)


@pytest.mark.parametrize("layer", [nn.Linear(1, 1), 3, "Linear", int])
def test_layer_info_needs_a_class(layer: object) -> None:
    with pytest.raises(ConfigError, match=r"paddle\.nn\.Layer"):
        LayerInfo(layer, ["X"], [], ["Out"])  # type: ignore[arg-type]


def test_errors_have_one_base() -> None:
    with pytest.raises(QuantizationError):
        PTQRegistry.layer_info(nn.RNN)
