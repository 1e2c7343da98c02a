"""Operators that one call of Paddle does not replay: small functions that take an operator's operands as the program has them.

They run on tensors and on values of a program that is being traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle

from ..util.paddle_private import C_OPS

__all__: list[str] = []

NATIVE: Any = C_OPS  # the module itself: whoever watches a forward replaces what is in it


def as_tensor(numbers: Any) -> Any:
    """A list of numbers and computed scalars as one tensor; what is a tensor, or holds numbers only, stays."""
    if not isinstance(numbers, (list, tuple)) or all(isinstance(number, (int, float)) for number in numbers):
        return numbers
    parts = [paddle.to_tensor([n], dtype="int64") if isinstance(n, int) else paddle.reshape(paddle.cast(n, "int64"), [1]) for n in numbers]
    return paddle.concat(parts)


def bounds(numbers: Any) -> Any:
    """As `as_tensor`, but numbers where they are known already: some operators take a tensor only while being traced."""
    tensor = as_tensor(numbers)
    return tensor.reshape([-1]).tolist() if isinstance(tensor, paddle.Tensor) else tensor


def identity(x: Any) -> Any:
    """The value itself."""
    return x


def reshape(x: Any, shape: Any) -> Any:
    """``shape``: a list of numbers and scalars, or a tensor."""
    return paddle.reshape(x, shape)


def slice_(x: Any, axes: list[int], starts: Any, ends: Any, infer_flags: list[int], decrease_axis: list[int]) -> Any:
    """Bounds may be computed."""
    return NATIVE.slice(x, axes, bounds(starts), bounds(ends), infer_flags, decrease_axis)


def strided_slice(x: Any, axes: list[int], starts: Any, ends: Any, strides: Any) -> Any:
    """Bounds may be computed."""
    return NATIVE.strided_slice(x, axes, bounds(starts), bounds(ends), bounds(strides))


def expand(x: Any, shape: Any) -> Any:
    """Sizes may be computed; -1 keeps a size."""
    return NATIVE.expand(x, as_tensor(shape))


def tile(x: Any, repeats: Any) -> Any:
    """Repeats may be computed."""
    return NATIVE.tile(x, as_tensor(repeats))


def unsqueeze(x: Any, axis: Any) -> Any:
    """Axes may be computed."""
    return paddle.unsqueeze(x, axis)


def squeeze(x: Any, axis: Any) -> Any:
    """No axes: all of size 1."""
    return paddle.squeeze(x, axis or None)


def full_like(x: Any, value: Any, dtype: Any) -> Any:
    """An undefined data type is that of ``x``."""
    return paddle.full_like(x, value, None if dtype is None else dtype)


def full(value: Any, shape: Any, dtype: Any) -> Any:
    """Sizes and the number may be computed."""
    return paddle.full(as_tensor(shape), value, dtype)


def full_batch_size_like(x: Any, shape: list[int], dtype: Any, value: float, input_axis: int, output_axis: int) -> Any:
    """One size of the result is that of ``x``."""
    sizes: list[Any] = list(shape)
    sizes[output_axis] = paddle.shape(x)[input_axis]
    return paddle.full(as_tensor(sizes), value, dtype)


def clip(x: Any, low: Any, high: Any) -> Any:
    """Bounds may be computed."""
    return paddle.clip(x, low, high)


def grid(tensors: Sequence[Any]) -> Any:
    """All combinations of coordinates."""
    return NATIVE.meshgrid(list(tensors))


def einsum(tensors: Sequence[Any], equation: str) -> Any:
    """The result alone; the operator's other results serve its gradient."""
    return paddle.einsum(equation, *tensors)


def assign_value(shape: list[int], dtype: Any, values: list[Any]) -> Any:
    """A tensor written in the program."""
    return paddle.reshape(paddle.to_tensor(values, dtype=dtype), shape)


def set_value(x: Any, starts: Any, ends: Any, steps: Any, axes: Any, decrease: Any, none: Any, shape: Any, values: Any) -> Any:
    """A slice filled with numbers, in a new tensor."""
    return NATIVE.set_value(x, bounds(starts), bounds(ends), bounds(steps), axes, decrease, none, shape, values)


def set_value_with_tensor(x: Any, values: Any, starts: Any, ends: Any, steps: Any, axes: Any, decrease: Any, none: Any) -> Any:
    """A slice filled with a tensor, in a new tensor."""
    return NATIVE.set_value_with_tensor(x, values, bounds(starts), bounds(ends), bounds(steps), axes, decrease, none)


def matmul_with_flatten(x: Any, y: Any, x_columns: int, y_columns: int) -> Any:
    """Axes before the given number are rows, the others columns; the result has the rows of ``x`` and the columns of ``y``."""
    sizes = [paddle.shape(x)[axis] if size < 0 else size for axis, size in enumerate(x.shape[:x_columns])]
    rows = x if len(x.shape) == 2 else paddle.flatten(x, x_columns) if x_columns == 1 else _flat(x, x_columns)
    columns = y if len(y.shape) == 2 else paddle.reshape(y, [_product(y.shape[:y_columns]), -1])
    product = paddle.matmul(rows, columns)
    return product if x_columns == 1 and len(y.shape) == 2 else paddle.reshape(product, [*sizes, *y.shape[y_columns:]])


def _flat(x: Any, columns: int) -> Any:
    return paddle.flatten(paddle.flatten(x, columns), 0, columns - 1)


def _product(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def interpolate(x: Any, size: Any, sizes: Any, scales: Any, native: str, *attributes: Any) -> Any:
    """Sizes as a tensor, as a list of scalars, or in the attributes."""
    return getattr(NATIVE, native)(x, size, sizes, scales, *attributes)


def legacy_matmul(x: Any, y: Any, transpose_x: bool, transpose_y: bool, alpha: float) -> Any:
    """The matmul of Paddle 1, with a factor."""
    product = paddle.matmul(x, y, transpose_x, transpose_y)
    return product if alpha == 1.0 else paddle.scale(product, alpha)


def unbound(tensors: Sequence[Any], index: int) -> Any:
    """One of several results."""
    return tensors[index]


def argmax(x: Any, axis: Any, keepdim: bool, flatten: bool, dtype: Any) -> Any:
    """Along one axis, or among all elements."""
    return paddle.argmax(x, None if flatten else axis, keepdim, dtype)


def argmin(x: Any, axis: Any, keepdim: bool, flatten: bool, dtype: Any) -> Any:
    """Along one axis, or among all elements."""
    return paddle.argmin(x, None if flatten else axis, keepdim, dtype)
