"""How an operator's operands and attributes become the arguments of a call.

A signature names them in the order of the function's arguments:

- ``x``: an operand or an attribute of this name; an operand that the file lacks is ``None``;
- ``shape:n``: numbers; an operand that holds a known number or list is given as Python numbers, computed ones stay tensors;
- ``dtype:d``: a data type, ``None`` where the file leaves it open;
- ``=0`` or ``=None``: the constant itself, written in Python.
"""

from __future__ import annotations

import ast
from typing import Any

from quantizers.errors import UnsupportedOperatorError

from ..records import Dtype, Operand, Operation, Recorded
from ..steps import Call, Hole, Step

__all__ = ["build"]

INTEGERS = ("int8", "uint8", "int16", "int32", "int64", "bool")


def build(operation: Operation, recorded: Recorded, function: str, signature: str) -> Step:
    """The step of one operation.

    Raises:
        UnsupportedOperatorError: the operation has no operand or attribute that the signature names: it is of another version.
    """
    inputs: list[int] = []
    arguments = [_argument(token, operation, recorded, inputs) for token in signature.split()]
    several = len(operation.outputs) > 1 or operation.name == "builtin.split"
    outputs = operation.outputs if several else operation.outputs[0]
    return Step(tuple(inputs), -1 if outputs is None else outputs, Call(function, arguments))


def _argument(token: str, operation: Operation, recorded: Recorded, inputs: list[int]) -> Any:
    if token.startswith("="):
        return ast.literal_eval(token[1:])
    name, _, kind = token.partition(":")
    if name in operation.inputs:
        operand = operation.inputs[name]
        return _numbers(operand, recorded, inputs) if kind == "n" else _tensors(operand, inputs)
    if name not in operation.attrs:
        raise UnsupportedOperatorError(
            f"{operation.where}: {operation.name} has no {name}; it has {', '.join([*operation.inputs, *operation.attrs])}"
        )
    value = operation.attrs[name]
    return None if kind == "d" and isinstance(value, Dtype) and value == "undefined" else value


def _tensors(operand: Operand, inputs: list[int]) -> Any:
    if operand is None:
        return None
    if isinstance(operand, tuple):
        return [_tensors(value, inputs) for value in operand]
    if operand not in inputs:
        inputs.append(operand)
    return Hole(inputs.index(operand))


def _numbers(operand: Operand, recorded: Recorded, inputs: list[int]) -> Any:
    if operand is None:
        return None
    if isinstance(operand, tuple):
        return [_numbers(value, recorded, inputs) for value in operand]
    constant = recorded.constants.get(operand)
    if constant is None:
        return _tensors(operand, inputs)
    numbers = constant.data.tolist()
    # a number is written with shape [1] in most places
    single = isinstance(numbers, list) and len(numbers) == 1 and recorded.shapes.get(operand) == (1,) and _is_scalar(operand, recorded)
    return numbers[0] if single else numbers


def _is_scalar(value: int, recorded: Recorded) -> bool:
    return value in recorded.scalars
