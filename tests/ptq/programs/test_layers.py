"""Operators become the layers that a person would have written, with their names, and nothing more than that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import operator_cases
import paddle
import pytest
from operator_cases import CASES
from paddle import nn
from program_nets import Mixed, Tied, answers, picture, save

import ptq

EXPECTED: dict[str, type[nn.Layer]] = {
    "conv1d": nn.Conv1D,
    "conv1d_transpose": nn.Conv1DTranspose,
    "conv2d": nn.Conv2D,
    "conv2d_same": nn.Conv2D,
    "conv2d_nhwc": nn.Conv2D,
    "depthwise_conv2d": nn.Conv2D,
    "conv2d_transpose": nn.Conv2DTranspose,
    "conv2d_transpose_sized": nn.Conv2DTranspose,
    "conv3d": nn.Conv3D,
    "conv3d_transpose": nn.Conv3DTranspose,
    "linear": nn.Linear,
    "linear_turned": nn.Linear,
    "batch_norm": nn.BatchNorm2D,
    "batch_norm1d": nn.BatchNorm1D,
    "batch_norm3d": nn.BatchNorm3D,
    "layer_norm": nn.LayerNorm,
    "layer_norm_plain": nn.LayerNorm,
    "group_norm": nn.GroupNorm,
    "instance_norm": nn.InstanceNorm2D,
    "embedding": nn.Embedding,
    "prelu": nn.PReLU,
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "simple_rnn": nn.SimpleRNN,
    "pool2d_max": nn.MaxPool2D,
    "pool2d_avg": nn.AvgPool2D,
    "pool2d_adaptive": nn.AdaptiveAvgPool2D,
    "pool3d": nn.AvgPool3D,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "softmax": nn.Softmax,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_layer(name: str, tmp_path: Path) -> None:
    operator_cases.save(name, tmp_path)
    layer = ptq.load_program(tmp_path / name)
    kinds = [type(inner) for inner in layer.sublayers() if not isinstance(inner, nn.LayerDict)]
    assert kinds[0] == EXPECTED[name]
    assert len(kinds) == 1 or issubclass(EXPECTED[name], nn.layer.rnn.RNNBase)  # those hold cells that are never called
    original = operator_cases.Net(CASES[name])
    named = {tuple(parameter.shape) for parameter in original.parameters()}
    if name != "linear_turned":
        assert {tuple(parameter.shape) for parameter in layer.parameters()} >= named


def test_names_are_paths_and_a_layer_used_twice_is_one(tmp_path: Path) -> None:
    net = save(Mixed(), tmp_path / "m", [None, 3, None, None])
    layer = ptq.load_program(tmp_path / "m")
    layers = {name: type(inner).__name__ for name, inner in layer.named_sublayers() if not isinstance(inner, nn.LayerDict)}
    kinds = sorted(layers.values())
    assert kinds == sorted(["Conv2D", "BatchNorm2D", "ReLU", "Conv2D", "ReLU", "Hardswish", "AdaptiveAvgPool2D", "Linear"])
    assert any(name.startswith("Sequential") and name.split(".")[1].startswith("Conv2D") for name in layers)
    convolutions = [inner for inner in layer.sublayers() if isinstance(inner, nn.Conv2D)]
    assert all(inner.bias is not None for inner in convolutions)
    assert sum(np.prod(p.shape) for p in layer.parameters()) == sum(np.prod(p.shape) for p in net.parameters())


def test_a_tied_embedding_stays_one_parameter(tmp_path: Path) -> None:
    net = save(Tied(), tmp_path / "m", [None, None], dtype="int64")
    layer = ptq.load_program(tmp_path / "m")
    tokens = [inner for inner in layer.sublayers() if isinstance(inner, nn.Embedding)]
    assert len(tokens) == 1
    assert [tuple(parameter.shape) for parameter in layer.parameters()].count((20, 16)) == 1
    ids = np.array([[3, 4, 5], [1, 0, 19]], "int64")
    np.testing.assert_allclose(answers(layer, ids)[0], answers(net, ids)[0], atol=1e-6)


def test_dropout_disappears(tmp_path: Path) -> None:
    net = save(
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 3), nn.Dropout(0.25, mode="downscale_in_infer")),
        tmp_path / "m",
        [None, 4],
    )
    layer = ptq.load_program(tmp_path / "m")
    assert not [inner for inner in layer.sublayers() if isinstance(inner, nn.Dropout)]
    assert len(layer._steps) == 3  # two products, and the factor 1 - p
    np.testing.assert_allclose(answers(layer, picture(5, 4))[0], answers(net, picture(5, 4))[0], atol=1e-6)


def test_parameters_can_be_trained(tmp_path: Path) -> None:
    """A step of training changes what the loaded program answers, as it does the net."""
    net = save(Mixed(), tmp_path / "m", [None, 3, 8, 8])
    layer = ptq.load_program(tmp_path / "m")
    x = paddle.to_tensor(picture(4, 3, 8, 8))
    for model in (net, layer):
        model.train()
        optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
        model(x).square().mean().backward()
        optimizer.step()
        model.eval()
    np.testing.assert_allclose(layer(x).numpy(), net(x).numpy(), atol=1e-5)
