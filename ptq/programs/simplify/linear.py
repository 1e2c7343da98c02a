"""Finds products with a parameter: what a person would have written as a linear layer."""

from __future__ import annotations

import paddle

from ..records import Constant, Operation, Recorded

__all__ = ["find_linear"]


def find_linear(recorded: Recorded) -> None:
    """A ``matmul`` whose second operand is a parameter of two axes becomes the operation ``linear``, with the weight as ``[in, out]``.

    A weight that others read as well and that would have to be turned over (tied to an embedding) stays a product.
    """
    readers = recorded.readers()
    for operation in recorded.operations:
        if operation.name not in ("matmul", "matmul_with_flatten", "legacy_matmul") or operation.attrs.get("transpose_x"):
            continue
        weight = operation.operand("y")
        constant = recorded.constants.get(weight)
        if constant is None or not constant.parameter or len(recorded.shapes[weight]) != 2 or constant.data.dtype != paddle.float32:
            continue
        if not _is_plain(operation, recorded):
            continue
        if operation.attrs.get("transpose_y"):
            if len(readers[weight]) > 1:
                continue
            weight = recorded.add_constant(Constant(constant.data.t().contiguous(), constant.parameter, constant.trainable))
        operation.name = "linear"
        operation.inputs = {"x": operation.operand("x"), "weight": weight, "bias": None}
        operation.attrs = {}


def _is_plain(operation: Operation, recorded: Recorded) -> bool:
    """Whether it is a product over the last axis alone."""
    axes = len(recorded.shapes[operation.operand("x")])
    if operation.name == "matmul_with_flatten":
        return bool(operation.attrs["x_num_col_dims"] == axes - 1 and operation.attrs["y_num_col_dims"] == 1)
    return axes > 1 and operation.attrs.get("alpha", 1.0) == 1.0
