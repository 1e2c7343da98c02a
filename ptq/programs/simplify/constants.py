"""Computes what depends on constants only, once."""

from __future__ import annotations

import math
from typing import Any

import paddle

from ..operators import OPERATORS, build
from ..records import Constant, Operation, Recorded

__all__ = ["fold_constants"]

# Their results hold the elements of their first operand, all of them and in the same order.
RESHAPING = ("reshape", "unsqueeze", "squeeze", "flatten", "assign", "share_data", "view_shape")
KEPT = ("embedding",)  # a table stays a layer, also where it is always asked for the same rows (positions)
LARGE = 1 << 20  # elements: what is larger than its operands and than this is computed in each forward


def fold_constants(recorded: Recorded) -> None:
    """Takes out operations whose operands are all known; their results become constants."""
    kept = []
    for operation in recorded.operations:
        if not _is_known(operation, recorded) or _grows(operation, recorded):
            kept.append(operation)
        elif any(output not in recorded.constants for output in operation.outputs if output is not None):
            _fold(operation, recorded)
    recorded.operations = kept


def _is_known(operation: Operation, recorded: Recorded) -> bool:
    return (
        operation.name in OPERATORS
        and operation.name not in KEPT
        and all(value in recorded.constants for value in operation.reads())
        and all(output in recorded.shapes for output in operation.outputs if output is not None)
    )


def _grows(operation: Operation, recorded: Recorded) -> bool:
    size = max((math.prod(recorded.shapes[output]) for output in operation.outputs if output is not None), default=0)
    return size > LARGE and size > sum(math.prod(recorded.shapes[value]) for value in operation.reads())


def _fold(operation: Operation, recorded: Recorded) -> None:
    step = build(operation, recorded, *OPERATORS[operation.name])
    with paddle.no_grad():
        result = step.function(*[recorded.constants[value].data for value in step.inputs])
    results = result if isinstance(result, (tuple, list)) else [result]
    sources = [recorded.constants[value] for value in operation.reads()]
    for output, data in zip(operation.outputs, results, strict=False):
        if output is not None:
            recorded.constants[output] = _constant(operation, data, sources)
            recorded.shapes[output] = tuple(int(size) for size in data.shape)


def _constant(operation: Operation, data: Any, sources: list[Constant]) -> Constant:
    literal = all(source.literal for source in sources)
    if operation.name in RESHAPING and sources and sources[0].parameter:
        return Constant(data, sources[0].parameter, sources[0].trainable)
    return Constant(data, literal=literal)
