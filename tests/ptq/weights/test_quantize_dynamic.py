"""`quantize_dynamic`: the model in memory answers as ONNX Runtime's integer kernels do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from cpus import WEIGHT_BITS
from models import relative
from paddle import nn
from paddle.static import InputSpec
from reloading import reload_gap
from weight_nets import Perceptron, TiedModel, answer, ids, initializers, numbers, operators, written

import ptq
from ptq import ImperativePTQ, PTQConfig, QuantOverride
from ptq.layers.dynamic import dynamic_integers
from quantizers.errors import ConfigError


def quantized(model: nn.Layer, **options: Any) -> nn.Layer:
    return ptq.quantize_dynamic(model, progress=False, **options).model


def by_definition(x: np.ndarray) -> tuple[np.ndarray, np.float32, int]:
    """DynamicQuantizeLinear as ONNX defines it, step by step in float32."""
    low, high = min(np.float32(0), x.min()), max(np.float32(0), x.max())
    scale = np.float32((high - low) / np.float32(255)) if high > low else np.float32(1)
    zero = int(np.rint(np.clip(np.float32(0) - low / scale, 0, 255)))
    return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64), scale, zero


@pytest.mark.parametrize("x", [numbers(50, 30), numbers(50, 30).abs(), -numbers(50, 30).abs(), paddle.zeros([3, 4]), numbers(3, 4) * 1e-20])
def test_the_grid_is_that_of_the_operator(x: paddle.Tensor) -> None:
    integers, scale = dynamic_integers(x, "tensor")
    codes, expected, zero = by_definition(x.numpy())
    assert float(scale) == expected
    np.testing.assert_array_equal(integers.numpy(), codes - zero)


def test_rows_have_grids_of_their_own() -> None:
    x = numbers(5, 7, 30)
    x[2, 3] = 0
    integers, scale = dynamic_integers(x, "row")
    assert scale.shape == [5, 7, 1]
    largest = np.abs(x.numpy()).max(axis=-1, keepdims=True)
    np.testing.assert_array_equal(np.abs(integers.numpy()).max(axis=-1), np.where(largest == 0, 0, 127)[..., 0])
    np.testing.assert_allclose(integers.numpy() * scale.numpy(), x.numpy(), atol=float(largest.max()) / 250)


@pytest.mark.parametrize("features", [40, 900])
def test_sums_are_those_of_integers(features: int) -> None:
    layer, x = nn.Linear(features, 7), numbers(4, features).abs() * 0.02 + 3  # sums as large as they get
    layer.weight.set_value(numbers(features, 7, seed=1).abs() * 0.02 + 3)
    twin = quantized(layer)
    codes, scale, zero = by_definition(x.numpy())
    sums = (codes - zero) @ twin.weight_quantized.numpy().astype(np.int64)
    expected = sums.astype("float32") * (scale * twin.weight_scale.numpy().reshape(-1)) + layer.bias.numpy()
    np.testing.assert_array_equal(twin(x).numpy(), expected)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("features", [40, 900])
def test_linear_layers_answer_as_onnx_runtime_does(granularity: str, features: int, tmp_path: Path) -> None:
    model, x = quantized(Perceptron(features), granularity=granularity, weight_bits=WEIGHT_BITS), numbers(6, features)
    file = written(model, InputSpec([None, features], "float32"), tmp_path)
    assert operators(file).count("MatMulInteger") == 2
    assert operators(file).count("DynamicQuantizeLinear") == (2 if granularity == "tensor" else 0)
    np.testing.assert_allclose(answer(file, x), model(x).numpy(), rtol=0, atol=float(model(x).abs().max()) * 2e-6)


CONVOLUTIONS = {
    "plain": ({}, "ConvInteger"),
    "wide": ({"kernel_size": 5, "padding": 2, "stride": 2}, "ConvInteger"),
    "uneven padding": ({"padding": [0, 1, 2, 1]}, "ConvInteger"),
    "dilated": ({"dilation": 2}, "ConvInteger"),
    "one by one": ({"kernel_size": 1}, "MatMulInteger"),
    "one by one in steps": ({"kernel_size": 1, "stride": 2}, "ConvInteger"),
    "one by one without bias": ({"kernel_size": 1, "bias_attr": False}, "MatMulInteger"),
    "no bias": ({"bias_attr": False}, "ConvInteger"),
    "reflected": ({"padding": 1, "padding_mode": "reflect"}, "Conv"),
}


SLOW = ("uneven padding", "dilated", "one by one in steps", "one by one without bias", "no bias")


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CONVOLUTIONS])
def test_convolutions_answer_as_onnx_runtime_does(case: str, tmp_path: Path) -> None:
    options, operator = CONVOLUTIONS[case]
    paddle.seed(0)
    layer = nn.Sequential(nn.Conv2D(24, 12, **{"kernel_size": 3, **options}), nn.ReLU())
    model, x = quantized(layer, weight_bits=WEIGHT_BITS), numbers(2, 24, 9, 10)
    file = written(model, InputSpec([None, 24, 9, 10], "float32"), tmp_path)
    assert operators(file).count(operator) == 1
    np.testing.assert_allclose(answer(file, x), model(x).numpy(), rtol=0, atol=float(model(x).abs().max()) * 2e-6)
    assert 0 < relative(model(x), layer(x)) < 0.03


def test_weights_of_integer_convolutions_are_unsigned_around_128(tmp_path: Path) -> None:
    file = written(quantized(nn.Sequential(nn.Conv2D(4, 5, 3))), InputSpec([1, 4, 6, 6], "float32"), tmp_path)
    (node,) = [node for node in file.graph.node if node.op_type == "ConvInteger"]
    found = initializers(file)
    assert found[node.input[1]].dtype == np.uint8
    assert found[node.input[3]].item() == 128


def test_layers_that_read_one_tensor_share_its_integers(tmp_path: Path) -> None:
    class Net(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k = nn.Linear(16, 8), nn.Linear(16, 8)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.q(x) * self.k(x)

    file = written(quantized(Net()), InputSpec([None, 16], "float32"), tmp_path)
    assert operators(file).count("DynamicQuantizeLinear") == 1
    assert operators(file).count("MatMulInteger") == 2


def test_answers_per_tensor_depend_on_the_batch_and_per_row_do_not() -> None:
    model = Perceptron()
    small, large = numbers(1, 40), numbers(1, 40, seed=1) * 50
    both = paddle.concat([small, large])
    per_tensor, per_row = quantized(model), quantized(model, granularity="row")
    assert relative(per_tensor(both)[:1], per_tensor(small)) > 0.1
    np.testing.assert_array_equal(per_row(both)[:1].numpy(), per_row(small).numpy())


def test_what_gains_nothing_keeps_a_float_input_and_says_why() -> None:
    model = nn.LayerList([nn.Conv2D(8, 8, 3, groups=8), nn.LSTM(4, 4), nn.Embedding(5, 4), nn.Conv2DTranspose(4, 4, 3), nn.Linear(4, 4)])
    result = ptq.quantize_dynamic(model, progress=False)
    rows = {row.site: row for row in result.report.coverage.rows}
    assert [getattr(layer, "dynamic", None) for layer in result.model] == [None, None, None, None, "tensor"]
    assert "0.06 to 0.34" in rows["0"].reason
    assert rows["4"].state == "int8"
    assert "Conv2DTranspose" in rows["3"].reason
    assert "LSTM" in rows["1"].reason
    assert all(layer._weight_bits == 8 for layer in result.model)


@pytest.mark.parametrize("bits", [4, 6])
def test_fewer_weight_bits(bits: int, tmp_path: Path) -> None:
    model, x = quantized(Perceptron(), weight_bits=bits), numbers(3, 40)
    assert int(np.abs(model.first.weight_quantized.numpy()).max()) == 2 ** (bits - 1) - 1
    assert reload_gap(model, tmp_path, x) <= 1e-6


def test_reloads_exactly(tmp_path: Path) -> None:
    assert reload_gap(quantized(TiedModel()), tmp_path, ids(3, 6)) == 0


def test_a_subclass_with_a_forward_of_its_own() -> None:
    class Twice(nn.Linear):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return 2 * super().forward(x)

    ptq.PTQRegistry.register(Twice)
    try:
        layer, x = Twice(20, 6), numbers(5, 20)
        twin = quantized(layer)
        assert 0 < relative(twin(x), layer(x)) < 0.03
    finally:
        ptq.PTQRegistry.unregister(Twice)


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("kind", [True, "row"])
def test_single_layers_are_dynamic_beside_static_ones(placement: str, kind: bool | str, tmp_path: Path) -> None:
    model, x = Perceptron(), numbers(8, 40)
    engine = ImperativePTQ(PTQConfig(placement=placement, overrides={"second": QuantOverride(dynamic=kind)}))
    calibrated = engine.quantize(model)
    calibrated(x)
    converted = engine.convert(calibrated)
    assert converted.second.dynamic == ("tensor" if kind is True else kind)
    assert converted.second.input_qparams is None
    assert converted.first.dynamic is None
    assert relative(converted(x), model(x)) < 0.05
    assert reload_gap(converted, tmp_path, x) <= 1e-5
    rows = {row.site: row for row in ptq.coverage(converted).rows}
    assert rows["second"].state == "int8"


def test_dynamic_overrides_travel_as_json() -> None:
    config = PTQConfig(overrides={"a": QuantOverride(dynamic="row"), "b": QuantOverride(dynamic=False)})
    assert PTQConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="dynamic"):
        QuantOverride(dynamic="column")


def test_refusals() -> None:
    for options in ({"granularity": "column"}, {"weight_bits": 16}, {"weight_bits": 1}, {"layers": "nope"}):
        with pytest.raises(ConfigError):
            quantized(Perceptron(), **options)
