"""Weights in blocks in ONNX files: MatMulNBits, element by element, and what else reads such weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.static import InputSpec
from weight_nets import Perceptron, TiedModel, answer, ids, in_float, initializers, numbers, operators, written

import ptq
from ptq.util.compare import sqnr_db

pytest.importorskip("paddle2onnx")
pytest.importorskip("onnxruntime")


class OneLinear(nn.Layer):
    """One product, so that an identity matrix shows every weight."""

    def __init__(self, features: int, answers: int, bias: bool = False) -> None:
        super().__init__()
        paddle.seed(1)
        self.fc = nn.Linear(features, answers, bias_attr=None if bias else False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc(x)


FAST = [(4, 32, True, 64), (4, 32, False, 70), (2, 32, True, 40), (8, 32, False, 70), (8, None, True, 70)]
SLOW = [(4, 16, False, 33), (4, None, True, 70), (3, 16, False, 48), (8, 32, True, 64), (6, 128, False, 200), (8, None, False, 40)]


@pytest.mark.parametrize(
    ("bits", "group", "symmetric", "features"), [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_every_weight_is_met_by_the_kernel(bits: int, group: int | None, symmetric: bool, features: int, tmp_path: Path) -> None:
    model = ptq.quantize_weights(OneLinear(features, 9, bias=True), bits=bits, group_size=group, symmetric=symmetric, progress=False).model
    model.fc.bias.set_value(numbers(9))
    file = written(model, InputSpec([None, features], "float32"), tmp_path)
    assert operators(file) == ["MatMulNBits"]
    x = paddle.eye(features)
    np.testing.assert_allclose(answer(in_float(file), x), model(x).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_layout_is_that_of_the_operator(bits: int, tmp_path: Path) -> None:
    """Codes and scales by the operator's definition, without any kernel."""
    model = ptq.quantize_weights(OneLinear(48, 5), bits=bits, group_size=32, symmetric=False, progress=False).model
    file = written(model, InputSpec([None, 48], "float32"), tmp_path)
    (node,) = file.graph.node
    blocks, scales, zeros = (initializers(file)[name] for name in node.input[1:4])
    assert blocks.shape == (5, 2, 32 * bits // 8)
    codes = blocks.astype(int)
    points = zeros.reshape(5, -1).astype(int)
    if bits == 4:
        codes = np.stack([codes % 16, codes // 16], axis=-1)
        points = np.stack([points % 16, points // 16], axis=-1).reshape(5, -1)
    real = (codes.reshape(5, 2, 32) - points[:, :2, None]) * scales.reshape(5, 2, 1)
    np.testing.assert_allclose(real.reshape(5, 64)[:, :48].T, model.fc.weight.numpy(), rtol=1e-6, atol=1e-7)
    assert {a.name: a.i for a in node.attribute} == {"K": 48, "N": 5, "bits": bits, "block_size": 32, "accuracy_level": 4}


def test_activations_cost_what_eight_bits_cost(tmp_path: Path) -> None:
    model = ptq.quantize_weights(Perceptron(64, 96, 16), bits=4, group_size=32, progress=False).model
    file, x = written(model, InputSpec([None, 64], "float32"), tmp_path), numbers(50, 64)
    assert operators(file).count("MatMulNBits") == 2
    assert sqnr_db(model(x).numpy(), answer(file, x)) > 35


def test_awq_factors_are_applied_to_the_input(tmp_path: Path) -> None:
    x = numbers(64, 40) * paddle.to_tensor(np.geomspace(0.1, 5, 40).astype("float32"))
    model = ptq.quantize_weights(Perceptron(), bits=4, group_size=16, algorithm="awq", data=[x], progress=False).model
    file = written(model, InputSpec([None, 40], "float32"), tmp_path)
    assert operators(file).count("MatMulNBits") == 2
    np.testing.assert_allclose(answer(in_float(file), x), model(x).numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_a_tied_weight_is_in_the_file_once(bits: int, tmp_path: Path) -> None:
    model = ptq.quantize_weights(TiedModel(400, 64), bits=bits, group_size=32, progress=False).model
    file, x = written(model, InputSpec([None, 6], "int64"), tmp_path), ids(3, 6, high=400)
    assert operators(file).count("MatMulNBits") == 2
    large = [name for name, array in initializers(file).items() if array.size >= 400 * 64 * bits // 8]
    assert len(large) == 1, large
    np.testing.assert_allclose(answer(in_float(file), x), model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"bits": 8}, {"bits": 4, "group_size": 16}, {"algorithm": "log"}, {"bits": 8, "per_channel": False}])
def test_embeddings_look_up_integers(options: dict[str, Any], tmp_path: Path) -> None:
    layer = nn.Sequential(nn.Embedding(300, 40))
    model = ptq.quantize_weights(layer, progress=False, **options).model
    file, x = written(model, InputSpec([None, 6], "int64"), tmp_path), ids(3, 6, high=300)
    np.testing.assert_array_equal(answer(file, x), model(x).numpy())
    (stored,) = [array for array in initializers(file).values() if array.size >= 300 * 40 // 2]
    assert stored.dtype == np.int8


@pytest.mark.parametrize("kind", ["conv", "lstm"])
def test_others_unpack_with_plain_operations(kind: str, tmp_path: Path) -> None:
    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lstm = nn.Conv2D(8, 8, 3, padding=1), nn.LSTM(16, 24)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.conv(x) if kind == "conv" else self.lstm(x)[0]

    shape = [2, 8, 6, 6] if kind == "conv" else [2, 5, 16]
    model = ptq.quantize_weights(Net(), bits=4, group_size=16, layers=kind, progress=False).model
    file, x = written(model, InputSpec(shape, "float32"), tmp_path), numbers(*shape)
    np.testing.assert_allclose(answer(file, x), model(x).numpy(), rtol=1e-4, atol=1e-5)
    assert max(array.size for array in initializers(file).values()) <= 24 * 4 * 32 // 2


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"bits": 4, "group_size": 32}, {"bits": 8, "group_size": 32}, {"bits": 8}])
def test_both_runtimes_pass_the_check(options: dict[str, Any], tmp_path: Path) -> None:
    spec = [InputSpec([None, 64], "float32")]
    result = ptq.quantize_weights(Perceptron(64, 96, 16), input_spec=spec, progress=False, **options)
    result.save(tmp_path / "m", formats=("jit", "onnx"), verbose=False)
    from ptq.export.manifest import read_manifest

    for report in read_manifest(tmp_path / "m")["runtimes"]:
        assert not report["mismatch"]
        assert float(report["sqnr_db"]) > 30  # of activations in 8 bits
        assert all(kernel["is_int8"] for kernel in report["kernels"]), report
