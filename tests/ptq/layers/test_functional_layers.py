"""Additions, products and concatenations as layers are observed like any layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, calibrated, converted, data, relative
from paddle import nn
from paddle.nn import quant
from paddle.static import InputSpec

from ptq import FloatFunctional, ImperativePTQ
from quantizers.errors import ConfigError

BINARY = {"add": paddle.add, "subtract": paddle.subtract, "multiply": paddle.multiply, "divide": paddle.divide, "matmul": paddle.matmul}


def _model(combine: Any) -> nn.Layer:
    """Linear, then ``op`` on its output and the input."""
    return Net(lambda net, x: combine(net, net.fc(x), x), fc=nn.Linear(4, 4), op=None)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("by_keyword", [False, True])
def test_paddles_own_layers(name: str, by_keyword: bool) -> None:
    def combine(net: Any, a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
        return net.op(x=a, y=b) if by_keyword else net.op(a, b)

    model = _model(combine)
    model.op = getattr(quant, name)()
    x = data(4, 4)
    prepared = calibrated(model, x)
    expected = BINARY[name](model.fc(x), x)
    np.testing.assert_array_equal(model(x).numpy(), expected.numpy())
    assert prepared.op._quant_config.out_act_quantizer.abs_max_vals == [pytest.approx(float(expected.abs().max()), rel=1e-6)]
    quantized = ImperativePTQ().convert(prepared)
    assert quantized.op._quant_config.out_act_quantizer.thresholds == [pytest.approx(float(expected.abs().max()), rel=1e-6)]
    assert type(quantized.op) is getattr(quant, name)
    assert not quantized.op._forward_post_hooks


def test_paddles_concat() -> None:
    model = _model(lambda net, a, b: net.op([a, b * 10], axis=1))
    model.op = quant.concat()
    x = data(4, 4)
    prepared = calibrated(model, x)
    assert prepared.op._quant_config.out_act_quantizer.abs_max_vals == [pytest.approx(float(x.abs().max()) * 10, rel=1e-6)]


@pytest.mark.parametrize("name", BINARY)
def test_float_functional(name: str) -> None:
    model = _model(lambda net, a, b: getattr(net.op, name)(a, b))
    model.op = FloatFunctional()
    x = data(4, 4)
    expected = BINARY[name](model.fc(x), x)
    np.testing.assert_array_equal(model(x).numpy(), expected.numpy())
    prepared = calibrated(model, x)
    assert prepared.op._quant_config.out_act_quantizer.abs_max_vals == [pytest.approx(float(expected.abs().max()), rel=1e-6)]


def test_float_functional_concat_and_transposed_matmul() -> None:
    op, x = FloatFunctional(), data(4, 4)
    np.testing.assert_array_equal(op.concat([x, x], axis=1).numpy(), paddle.concat([x, x], axis=1).numpy())
    np.testing.assert_array_equal(op.matmul(x, x, transpose_y=True).numpy(), paddle.matmul(x, x, transpose_y=True).numpy())


def test_float_functional_refuses_other_operations() -> None:
    with pytest.raises(ConfigError, match="no operation 'system'"):
        FloatFunctional()("system", data(1))


def test_models_with_them_are_saved(tmp_path: Path) -> None:
    model = _model(lambda net, a, b: net.op.add(net.plus(a, b), b))
    model.op, model.plus = FloatFunctional(), quant.add()
    quantized = converted(model, data(4, 4))
    paddle.jit.save(quantized, str(tmp_path / "model"), input_spec=[InputSpec([None, 4], "float32")])
    x = data(3, 4, seed=1)
    assert relative(paddle.jit.load(str(tmp_path / "model"))(x), quantized(x)) <= 1e-6
