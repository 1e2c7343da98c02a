"""A CRNN from a saved program: convolutions, a recurrent layer and a product, dynamic without any data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from cpus import WEIGHT_BITS
from models import relative
from paddle import nn
from paddle.static import InputSpec
from weight_nets import answer, numbers, operators, written

import ptq
from ptq.registry import PTQRegistry


class Crnn(nn.Layer):
    """Pictures of text lines to scores of characters."""

    def __init__(self) -> None:
        super().__init__()
        paddle.seed(0)
        self.stem, self.norm = nn.Conv2D(3, 16, 3, stride=2, padding=1), nn.BatchNorm2D(16)
        self.mix, self.rnn = nn.Conv2D(16, 32, 3, stride=(2, 1), padding=1), nn.LSTM(32, 24, direction="bidirect")
        self.head = nn.Linear(48, 30)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        hidden = nn.functional.relu(self.mix(nn.functional.relu(self.norm(self.stem(x)))))
        sequence = hidden.mean(axis=2).transpose([0, 2, 1])
        return self.head(self.rnn(sequence)[0])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("crnn") / "model"
    net = Crnn()
    net.norm._mean.set_value(numbers(16))
    net.eval()
    paddle.jit.save(net, str(prefix), input_spec=[InputSpec([None, 3, 16, 40], "float32", "x")])
    return prefix


def test_a_saved_crnn_becomes_dynamic(saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    result = ptq.quantize_dynamic(saved, weight_bits=WEIGHT_BITS, progress=False)
    kinds = [type(layer).__name__ for layer in result.model.sublayers() if getattr(layer, "dynamic", None)]
    assert sorted(kinds) == ["QuantizedConv2D", "QuantizedConv2D", "QuantizedLinear"]
    x, program = numbers(2, 3, 16, 40), ptq.load_program(saved)
    assert 0 < relative(result.model(x), program(x)) < 0.05
    file = written(result.model, InputSpec([None, 3, 16, 40], "float32", "x"), tmp_path)
    assert operators(file).count("ConvInteger") == 2
    assert operators(file).count("MatMulInteger") == 1
    assert operators(file).count("LSTM") == 1
    np.testing.assert_allclose(answer(file, x), result.model(x).numpy(), atol=float(result.model(x).abs().max()) * 1e-3)


def test_its_recurrent_weights_in_four_bits(saved: Path) -> None:
    result = ptq.quantize_weights(saved, bits=4, group_size=16, progress=False)
    x = numbers(2, 3, 16, 40)
    assert 0 < relative(result.model(x), ptq.load_program(saved)(x)) < 0.4
    (rnn,) = [layer for layer in result.model.sublayers() if isinstance(layer, nn.LSTM)]
    assert PTQRegistry.is_quantized_layer(rnn)
    assert rnn._weight_bits == 4
