"""Tensors of every origin become float32 arrays; what cannot is named."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from quantizers import as_float_array
from quantizers.errors import ShapeError, UnsupportedDtypeError

paddle.set_device("cpu")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_paddle_tensors_of_every_float_dtype(dtype, stop_gradient):
    values = np.array([[0.0, -1.5, 2.0], [0.5, 96.0, -0.25]], dtype=np.float32)
    tensor = paddle.to_tensor(values).astype(dtype)
    tensor.stop_gradient = stop_gradient
    array = as_float_array(tensor, where="x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, values)


def test_strided_paddle_tensor():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    array = as_float_array(paddle.to_tensor(values).transpose([2, 0, 1]), where="x")
    np.testing.assert_array_equal(array, values.transpose(2, 0, 1))


def test_float32_tensor_is_not_copied():
    tensor = paddle.to_tensor(np.zeros(5, dtype=np.float32))
    assert np.shares_memory(as_float_array(tensor, where="x"), np.from_dlpack(tensor))


@pytest.mark.parametrize("value", [1.5, [1.5, 2.0], np.float64(1.5), np.float16(1.5), [[1.0], [2.0]]])
def test_python_and_numpy_numbers(value):
    array = as_float_array(value, where="x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.asarray(value))


@pytest.mark.parametrize(
    "value",
    [np.arange(3), np.array([True]), 3, [1, 2], paddle.to_tensor([1, 2]), paddle.to_tensor([True]), "text", None, np.array([1j]), object()],
)
def test_what_is_not_floating_point_is_refused_by_name(value):
    with pytest.raises(UnsupportedDtypeError, match="conv1 input"):
        as_float_array(value, where="conv1 input")


@pytest.mark.parametrize("value", [np.zeros((0, 3), np.float32), paddle.zeros([2, 0]), [[1.0], [1.0, 2.0]]])
def test_empty_and_ragged_are_refused_by_name(value):
    with pytest.raises(ShapeError, match="conv1 input"):
        as_float_array(value, where="conv1 input")


def test_float64_beyond_float32_becomes_infinite():
    assert np.isinf(as_float_array(np.array([1e300]), where="x")).all()
