"""PaddleSlim's `quant_aware` and `convert`: the steps of its documentation, with the static-graph lines replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
import pytest
from paddle import nn

import ptq
from ptq.slim import convert, quant_aware
from ptq.training.layers import LayerInTraining
from quantizers.errors import ConfigError, ModelError


def in_training(model: nn.Layer) -> list[str]:
    return [name for name, layer in model.named_sublayers() if isinstance(layer, LayerInTraining) and layer.weight_grids.items()]


def images(count: int = 8) -> tuple[paddle.Tensor, paddle.Tensor]:
    random = np.random.default_rng(0)
    return paddle.to_tensor(random.random((count, 1, 28, 28)), dtype="float32"), paddle.to_tensor(random.integers(0, 10, count))


def train(model: nn.Layer, steps: int = 2) -> None:
    x, y = images()
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters())
    for _ in range(steps):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.clear_grad()


def gap(a: paddle.Tensor, b: paddle.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def test_the_documented_steps_on_a_layer(tmp_path: Path) -> None:
    place = paddle.CPUPlace()
    net = paddle.vision.models.LeNet()
    config = {"weight_quantize_type": "channel_wise_abs_max", "activation_quantize_type": "moving_average_abs_max", "moving_rate": 0.9}
    quant_program = quant_aware(net, place, config, for_test=False)
    val_quant_program = quant_aware(quant_program, place, config, for_test=True)
    assert quant_program.training
    assert not val_quant_program.training
    train(quant_program)
    x, _ = images()
    with paddle.no_grad():
        val = val_quant_program(x)
        float_program, int8_program = convert(val_quant_program, place, config, save_int8=True)
        assert float_program is int8_program
        assert gap(int8_program(x), val) < 0.02
    ptq.ImperativePTQ().save_quantized_model(int8_program, str(tmp_path / "model"), verbose=False)
    with paddle.no_grad():
        assert paddle.equal_all(ptq.load(str(tmp_path / "model"))(x), int8_program(x))


@pytest.mark.parametrize("kind", ["lenet", "json", "pdmodel"])
def test_a_saved_program_in_static_mode(saved: dict[str, Path], kind: str) -> None:
    paddle.enable_static()
    try:
        model = quant_aware(str(saved[kind] / "model"), paddle.CPUPlace(), executor=paddle.static.Executor(paddle.CPUPlace()))
    finally:
        paddle.disable_static()
    assert in_training(model)
    shape = [4, *model.input_spec[0].shape[1:]]
    x = paddle.rand(shape)
    optimizer = paddle.optimizer.SGD(0.01, parameters=model.parameters())
    before = [parameter.numpy().copy() for parameter in model.parameters()]
    answer = model(x)
    paddle.add_n([item.square().mean() for item in paddle.utils.flatten(answer)]).backward()
    optimizer.step()
    assert any(not np.array_equal(old, new.numpy()) for old, new in zip(before, model.parameters(), strict=True))
    model.eval()
    with paddle.no_grad():
        expected, found = paddle.utils.flatten(model(x))[0], paddle.utils.flatten(convert(model)(x))[0]
        assert gap(found, expected) < 0.02


@pytest.mark.parametrize("activation", ["abs_max", "range_abs_max", "moving_average_abs_max"])
@pytest.mark.parametrize("weight", ["abs_max", "channel_wise_abs_max", "range_abs_max", "moving_average_abs_max"])
def test_every_kind_of_range(activation: str, weight: str) -> None:
    config = {"weight_quantize_type": weight, "activation_quantize_type": activation, "window_size": 3, "weight_bits": 6}
    model = quant_aware(paddle.vision.models.LeNet(), config=config)
    train(model, 1)
    model.eval()
    x, _ = images()
    with paddle.no_grad():
        assert gap(convert(model)(x), model(x)) < 0.02


def test_operators_patterns_and_full() -> None:
    net = paddle.vision.models.LeNet()
    assert in_training(quant_aware(net, config={"quantize_op_types": ["conv2d"]})) == ["features.0", "features.3"]
    assert in_training(quant_aware(net, config={"quantize_op_types": ["mul"], "not_quant_pattern": ["fc.2"]})) == ["fc.0", "fc.1"]
    x, _ = images()
    full = quant_aware(net, config={"is_full_quantize": True}, input_spec=[x])
    assert hasattr(full, "activation_grids")


def test_functions_and_their_optimizer() -> None:
    def pact(x: paddle.Tensor) -> paddle.Tensor:
        return x - F.relu(x - 20.0) + F.relu(-x - 20.0)

    model = quant_aware(paddle.vision.models.LeNet(), act_preprocess_func=pact, optimizer_func=lambda: paddle.optimizer.Momentum(0.1))
    train(model, 1)
    model.eval()
    x, _ = images()
    with paddle.no_grad():
        assert gap(convert(model)(x), model(x)) < 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": {"weight_quantize_type": "lsq"}}, "weight_quantize_type must be one of"),
        ({"config": {"activation_quantize_type": "lsq"}}, "activation_quantize_type must be one of"),
        ({"config": {"weight_bits": 1}}, "quant_bits must be in 2..16"),
        ({"config": {"dtype": "uint8"}}, "dtype must be one of"),
        ({"config": {"for_tensorrt": True}}, "for_tensorrt must be one of"),
        ({"config": {"window_size": 0}}, "window_size"),
        ({"config": {"moving_rate": 2}}, "moving_rate"),
        ({"config": {"quantize_op_types": ["elementwise_add"]}}, "is_full_quantize=True"),
        ({"config": {"onnx_format": True}}, "config has 'onnx_format'"),
        ({"config": {"is_full_quantize": True}}, "pass data or input_spec"),
        ({"place": "cpu"}, "place must be"),
        ({"executor": "cpu"}, "executor must be"),
        ({"scope": "cpu"}, "scope must be"),
        ({"for_test": 1}, "for_test must be"),
        ({"return_program": 1}, "return_program must be"),
        ({"model_type": "transformer"}, "model_type='transformer' is not offered"),
        ({"nothing": 1}, "no argument 'nothing'"),
    ],
)
def test_what_is_not_offered_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quant_aware(paddle.vision.models.LeNet(), **arguments)


def test_models_at_the_wrong_moment() -> None:
    with pytest.raises(ConfigError, match="program must be a layer"):
        quant_aware(3)
    model = quant_aware(paddle.vision.models.LeNet())
    with pytest.raises(ModelError, match="prepared already"):
        quant_aware(model)
    with pytest.raises(ModelError, match="convert needs a model"):
        convert(paddle.vision.models.LeNet())
