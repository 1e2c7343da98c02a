"""What a twin keeps of its float layer: names, hooks, attributes, modes; and that the float layer stays as it was."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, calibrated, converted, data, relative, small_net
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from twin_cases import ONE_OF_EACH, TwinCase

from ptq import ImperativePTQ, PTQRegistry
from ptq.layers import QuantizedLayer
from quantizers import QParams
from quantizers.errors import ModelError


def _from_float(layer: nn.Layer, x: paddle.Tensor) -> QuantizedLayer:
    axis = PTQRegistry.layer_info(layer).quant_axis
    others = tuple(i for i in range(layer.weight.ndim) if i != axis)
    weights = QParams.symmetric(np.abs(layer.weight.numpy()).max(axis=others), quant_axis=axis, narrow_range=True)
    return PTQRegistry.twin_class(layer).from_float(layer, QParams.symmetric(float(x.abs().max())), weights)


def _state(layer: nn.Layer) -> dict[str, Any]:
    """A picture of a layer's attributes, containers copied one level down."""
    return {name: (copy.copy(value), dict(value) if isinstance(value, dict) else None) for name, value in vars(layer).items()}


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_from_float_leaves_the_float_layer_alone(case: TwinCase) -> None:
    layer, x = case.make(), data(*case.shape)
    weight, expected, before = layer.weight.numpy(), layer(x).numpy(), _state(layer)
    keys = list(layer.state_dict())
    twin = _from_float(layer, x)
    twin.register_forward_post_hook(lambda *_: None)
    twin.register_buffer("more", paddle.zeros([1]))
    twin.mine = 1
    twin.train()
    twin(x)
    after = _state(layer)
    assert before.keys() == after.keys()
    assert all(before[name][1] == after[name][1] for name in before if name not in ("_parameters", "_buffers"))
    assert list(layer.state_dict()) == keys
    np.testing.assert_array_equal(layer.weight.numpy(), weight)
    np.testing.assert_array_equal(layer(x).numpy(), expected)


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_state_dict_keys_of_what_is_not_the_weight_stay(case: TwinCase) -> None:
    layer, x = case.make(), data(*case.shape)
    layer.register_buffer("user_buffer", paddle.ones([2]))
    twin = _from_float(layer, x)
    kept = [key for key in layer.state_dict() if key != "weight"]
    assert kept == ["bias", "user_buffer"]
    assert [key for key in twin.state_dict() if key in kept] == kept
    assert set(twin.state_dict()) - set(kept) == {"weight_quantized", "weight_scale", "input_scale", "input_zero_point"}
    np.testing.assert_array_equal(twin.bias.numpy(), layer.bias.numpy())


def test_state_dict_keys_of_a_whole_model() -> None:
    model = small_net()
    quantized = converted(model, data(2, 3, 8, 8))
    swapped = {"conv1.weight", "conv2.weight", "fc.weight"}
    assert {key for key in model.state_dict() if key not in swapped} <= set(quantized.state_dict())
    assert not swapped & set(quantized.state_dict())


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_hooks_stay(case: TwinCase) -> None:
    layer, x = case.make(), data(*case.shape)
    calls: list[str] = []
    layer.register_forward_pre_hook(lambda *_: calls.append("pre"))
    layer.register_forward_post_hook(lambda *_: calls.append("post"))
    layer.register_forward_post_hook(lambda _, __, output: output * 2)
    layer.register_forward_pre_hook(lambda _, args, kwargs: calls.append(f"keywords {len(args)} {kwargs}"), with_kwargs=True)
    twin = converted(layer, x, config=absmax(16))
    calls.clear()
    answer = twin(x)
    assert calls == ["pre", "keywords 1 {}", "post"]
    assert relative(answer, layer(x)) <= 1e-3  # doubled too


@pytest.mark.parametrize("case", ONE_OF_EACH)
@pytest.mark.parametrize("training", [True, False])
def test_attributes_name_and_mode_stay(case: TwinCase, training: bool) -> None:
    layer, x = case.make(), data(*case.shape)
    layer.mine, layer.notes = {"a": [1]}, ["note"]
    layer.training = training
    layer.bias.stop_gradient = True
    twin = _from_float(layer, x)
    assert twin.mine == {"a": [1]}
    assert twin.notes == ["note"]
    assert twin.training is training
    assert twin.bias.stop_gradient
    assert twin.full_name() == layer.full_name()
    assert isinstance(twin, type(layer))
    settings = ("_stride", "_padding", "_padding_mode", "_dilation", "_groups", "_data_format", "output_padding", "_in_channels")
    assert all(getattr(twin, name) == getattr(layer, name) for name in settings if hasattr(layer, name))


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_mode_can_be_switched(case: TwinCase) -> None:
    layer, x = case.make(), data(*case.shape)
    twin = _from_float(layer, x)
    twin.eval()
    evaluated = twin(x).numpy()
    twin.train()
    np.testing.assert_array_equal(twin(x).numpy(), evaluated)


@pytest.mark.parametrize("case", ONE_OF_EACH)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"])
def test_copies_are_equal_and_independent(case: TwinCase, copied: Any) -> None:
    twin = converted(case.make(), data(*case.shape))
    x = data(*case.shape, seed=1)
    expected = twin(x).numpy()
    other = copied(twin)
    assert type(other) is type(twin)
    np.testing.assert_array_equal(other(x).numpy(), expected)
    other.weight_scale.set_value(other.weight_scale * 2)
    other.extra = 1
    np.testing.assert_array_equal(twin(x).numpy(), expected)
    assert not hasattr(twin, "extra")
    assert list(other.state_dict()) == list(twin.state_dict())


@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_state_dict_round_trip(case: TwinCase) -> None:
    twin, other = converted(case.make(), data(*case.shape)), converted(case.make(), data(*case.shape, seed=5))
    x = data(*case.shape, seed=1)
    assert relative(other(x), twin(x)) > 1e-3
    missing, unexpected = other.set_state_dict(twin.state_dict())
    assert (missing, unexpected) == ([], [])
    np.testing.assert_array_equal(other(x).numpy(), twin(x).numpy())


def test_state_dict_written_to_a_file(tmp_path: Any) -> None:
    twin = converted(small_net(), data(2, 3, 8, 8))
    paddle.save(twin.state_dict(), str(tmp_path / "state.pdparams"))
    other = converted(small_net(), data(2, 3, 8, 8, seed=9))
    other.set_state_dict(paddle.load(str(tmp_path / "state.pdparams")))
    x = data(2, 3, 8, 8, seed=1)
    np.testing.assert_array_equal(other(x).numpy(), twin(x).numpy())


def test_weight_used_by_the_parent() -> None:
    """Attention layers and tied embeddings read ``layer.weight`` and never call the layer."""

    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        return F.linear(net.fc(x), net.fc.weight, net.fc.bias) + net.fc.weight.sum()

    model = Net(forward, fc=nn.Linear(6, 6))
    x = data(4, 6)
    quantized = converted(model, x, config=absmax(16))
    assert isinstance(quantized.fc, QuantizedLayer)
    assert relative(quantized(x), model(x)) <= 1e-3


def test_repr_tells_settings_and_bits() -> None:
    text = repr(converted(nn.Conv2D(3, 4, 3, stride=2), data(1, 3, 8, 8), config=absmax(8, 4)))
    assert "QuantizedConv2D(3, 4" in text
    assert "input_bits=8, weight_bits=4" in text


def test_parameters_of_a_model_are_the_biases_and_norms() -> None:
    quantized = converted(small_net(), data(2, 3, 8, 8))
    names = [name for name, parameter in quantized.named_parameters() if not parameter.stop_gradient]
    assert names == ["bn1.weight", "bn1.bias", "conv2.bias", "bn2.weight", "bn2.bias", "fc.bias"]


def test_gradients_do_not_break_the_twin() -> None:
    """Rounding has no useful gradient, but the bias can still be trained."""
    twin = converted(nn.Linear(6, 5), data(4, 6))
    twin(data(4, 6)).sum().backward()
    np.testing.assert_allclose(twin.bias.grad.numpy(), [4.0] * 5)


def test_conversion_of_a_copy_shares_nothing() -> None:
    model = calibrated(nn.Linear(6, 5), data(4, 6))
    twin = ImperativePTQ().convert(model, inplace=False)
    twin.bias.set_value(paddle.ones([5]))
    assert not np.array_equal(model.bias.numpy(), twin.bias.numpy())


def test_the_weight_cannot_be_set() -> None:
    """It would be ignored without a word."""
    twin, other = converted(nn.Linear(6, 6), data(4, 6)), nn.Linear(6, 6)
    expected = twin(data(4, 6)).numpy()
    with pytest.raises(ModelError, match="its weight is fixed"):
        twin.weight = other.weight
    np.testing.assert_array_equal(twin(data(4, 6)).numpy(), expected)


def test_double_precision_after_conversion() -> None:
    model = converted(nn.Linear(6, 5), data(4, 6))
    expected = model(data(4, 6))
    model.to(dtype="float64")
    assert relative(model(data(4, 6).astype("float64")), expected) <= 1e-5


def test_user_attribute_that_shadows_nothing() -> None:
    """Attributes that the user sets on the twin later work as on any layer."""
    twin = converted(nn.Linear(6, 5), data(4, 6))
    twin.note = "kept"
    twin.act = nn.ReLU()
    assert twin.note == "kept"
    assert [name for name, _ in twin.named_sublayers()] == ["act"]
