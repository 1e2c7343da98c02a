"""Users' subclasses of supported layers: kept as they are, or left float with a warning until registered."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, calibrated, converted, data, relative
from paddle import nn
from paddle.static import InputSpec

from ptq import ImperativePTQ, PTQRegistry
from ptq.layers import QuantizedConv2D, QuantizedLayer, QuantizedLinear
from quantizers.errors import QuantizationWarning


class NamedLinear(nn.Linear):
    """A subclass that inherits ``forward``."""

    def __init__(self, inputs: int, outputs: int, nickname: str) -> None:
        super().__init__(inputs, outputs)
        self.nickname = nickname

    def greeting(self) -> str:
        return f"I am {self.nickname}"

    def extra_repr(self) -> str:
        return f"{self.nickname}, {super().extra_repr()}"

    @property
    def width(self) -> int:
        return int(self.weight.shape[1])


class ScaledConv(nn.Conv2D):
    """A subclass with a ``forward`` of its own, by ``super``."""

    def forward(self, x: paddle.Tensor, gain: float = 2.0) -> paddle.Tensor:
        return super().forward(x) * gain + 1


class StandardizedConv(nn.Conv2D):
    """A subclass whose ``forward`` uses the weight in a way of its own."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        weight = self.weight - self.weight.mean(axis=[1, 2, 3], keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self._stride, self._padding)


class Regrouped(nn.Linear):
    """A ``forward`` that only Paddle's tracer can turn into a program: it branches on a tensor and computes with the batch size."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        batch = x.shape[0]
        if x.mean() > 1000:
            x = x * 2
        return super().forward(x.reshape([batch * 2, 4])).reshape([batch, 2, 5])


class FurtherConv(ScaledConv):
    """A subclass of a subclass, nothing added."""


@pytest.fixture
def registered() -> Iterator[Any]:
    """Registers classes and takes them back."""
    classes: list[type] = []

    def register(layer: type) -> None:
        PTQRegistry.register(layer)
        classes.append(layer)

    yield register
    for layer in classes:
        PTQRegistry.unregister(layer)


def test_inherited_forward_is_quantized_and_keeps_its_methods() -> None:
    layer = NamedLinear(6, 5, "head")
    twin = converted(layer, data(4, 6), config=absmax(16))
    assert isinstance(twin, QuantizedLinear)
    assert isinstance(twin, NamedLinear)
    assert twin.greeting() == "I am head"
    assert twin.width == 5
    assert "head" in repr(twin)
    assert "weight_bits=16" in repr(twin)
    assert relative(twin(data(4, 6)), layer(data(4, 6))) <= 1e-3


def test_class_of_a_twin_is_made_once() -> None:
    twins = [converted(NamedLinear(6, 5, "head"), data(4, 6)) for _ in range(2)]
    assert type(twins[0]) is type(twins[1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"])
def test_inherited_forward_survives_copies(copied: Any) -> None:
    twin = converted(NamedLinear(6, 5, "head"), data(4, 6))
    other = copied(twin)
    assert other.greeting() == "I am head"
    np.testing.assert_array_equal(other(data(4, 6)).numpy(), twin(data(4, 6)).numpy())


@pytest.mark.parametrize("kind", [ScaledConv, StandardizedConv, FurtherConv])
def test_own_forward_stays_float_with_a_warning(kind: type) -> None:
    model = Net(lambda net, x: net.fc(net.odd(x).mean([2, 3])), odd=kind(3, 4, 3), fc=nn.Linear(4, 2))
    x = data(2, 3, 8, 8)
    with pytest.warns(QuantizationWarning, match=rf"odd \({kind.__name__}\)"):
        calibrated_model = calibrated(model, x)
    quantized = ImperativePTQ().convert(calibrated_model)
    assert type(quantized.odd) is kind
    assert isinstance(quantized.fc, QuantizedLinear)


def test_forward_set_on_the_instance_stays_float() -> None:
    layer = nn.Linear(6, 5)
    layer.forward = lambda x: x.sum()  # type: ignore[method-assign]
    assert not PTQRegistry.is_supported_layer(layer)
    assert PTQRegistry.is_supported_layer(nn.Linear(6, 5))


@pytest.mark.parametrize("kind", [ScaledConv, StandardizedConv])
def test_registered_subclass_is_quantized(kind: type, registered: Any) -> None:
    registered(kind)
    layer = kind(3, 4, 3)
    x = data(2, 3, 8, 8)
    twin = converted(layer, x, config=absmax(16))
    assert isinstance(twin, QuantizedConv2D)
    assert isinstance(twin, kind)
    assert twin.weight_quantized.dtype == paddle.int16
    assert 0 < relative(twin(x), layer(x)) <= 1e-3


def test_registered_subclass_takes_its_own_arguments(registered: Any) -> None:
    registered(ScaledConv)
    layer, x = ScaledConv(3, 4, 3), data(2, 3, 8, 8)
    twin = converted(layer, x, config=absmax(16))
    assert relative(twin(x, gain=3.0), layer(x, gain=3.0)) <= 1e-3
    assert relative(twin(x=x, gain=3.0), layer(x, gain=3.0)) <= 1e-3


def test_input_of_a_registered_subclass_is_rounded_once(registered: Any) -> None:
    """Its ``forward`` calls ``super().forward``, which must be the float one."""
    registered(ScaledConv)
    twin = converted(ScaledConv(3, 4, 3), data(2, 3, 8, 8))
    calls = []
    original = type(twin).quantize_input
    twin.quantize_input = lambda x: calls.append(1) or original(twin, x)
    twin(data(2, 3, 8, 8))
    assert calls == [1]


def test_subclass_of_a_registered_subclass(registered: Any) -> None:
    registered(ScaledConv)
    x = data(2, 3, 8, 8)
    layer = FurtherConv(3, 4, 3)
    with pytest.warns(QuantizationWarning, match="cannot be traced"):  # Paddle's tracer takes its super() for another class
        twin = converted(layer, x, config=absmax(16))
    assert isinstance(twin, QuantizedLayer)
    assert isinstance(twin, FurtherConv)
    assert relative(twin(x), layer(x)) <= 1e-3


@pytest.mark.parametrize("kind", [ScaledConv, StandardizedConv, NamedLinear])
def test_subclasses_survive_copies_and_saving(kind: type, registered: Any, tmp_path: Path) -> None:
    if kind is not NamedLinear:
        registered(kind)
    layer: nn.Layer = NamedLinear(6, 5, "head") if kind is NamedLinear else kind(3, 4, 3)
    shape = [6] if kind is NamedLinear else [3, 8, 8]
    x = data(2, *shape)
    twin = converted(layer, x)
    expected = twin(x).numpy()
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        assert type(other) is type(twin)
        np.testing.assert_array_equal(other(x).numpy(), expected)
    paddle.jit.save(twin, str(tmp_path / "model"), input_spec=[InputSpec([None, *shape], "float32")])
    np.testing.assert_allclose(paddle.jit.load(str(tmp_path / "model"))(x).numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(twin(x).numpy(), expected)  # still the same after tracing
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(twin))(x).numpy(), expected)
    np.testing.assert_array_equal(copy.deepcopy(twin)(x).numpy(), expected)


def test_own_forward_is_traced_like_that_of_the_float_layer(registered: Any, tmp_path: Path) -> None:
    registered(Regrouped)
    twin = converted(Regrouped(4, 5), data(3, 8))
    paddle.jit.save(twin, str(tmp_path / "model"), input_spec=[InputSpec([None, 8], "float32")])
    loaded = paddle.jit.load(str(tmp_path / "model"))
    for x in (data(3, 8), data(5, 8), data(2, 8) + 2000):
        assert relative(loaded(x), twin(x)) <= 1e-6


@pytest.mark.parametrize("kind", [ScaledConv, StandardizedConv])
def test_registered_subclass_inside_a_model_is_saved(kind: type, registered: Any, tmp_path: Path) -> None:
    """While it traces, Paddle keeps a layer's forward among the layer's own attributes."""
    registered(kind)
    model = converted(nn.Sequential(kind(3, 4, 3), nn.ReLU()), data(2, 3, 8, 8))
    assert isinstance(model[0], QuantizedConv2D)
    paddle.jit.save(model, str(tmp_path / "model"), input_spec=[InputSpec([None, 3, 8, 8], "float32")])
    x = data(3, 3, 8, 8, seed=1)
    assert relative(paddle.jit.load(str(tmp_path / "model"))(x), model(x)) <= 1e-6


def test_state_that_the_forward_keeps(registered: Any) -> None:
    class Counting(nn.Linear):
        calls = 0

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            self.calls += 1
            return super().forward(x)

    registered(Counting)
    twin = converted(Counting(4, 5), data(3, 4))
    calls = twin.calls
    twin(data(3, 4))
    assert twin.calls == calls + 1
