"""From what a data loader yields to a call of the model, and a digest to recognise it by."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import CalibrationError

from ..util.nests import map_nest, tensors_in

__all__ = ["call_of", "check_not_empty", "describe", "digest", "required_inputs"]

Call = tuple[tuple[Any, ...], dict[str, Any]]


def call_of(batch: Any, inputs: int | None, where: str = "the batch") -> Call:
    """``(args, kwargs)`` for the model.

    Args:
        batch: a tensor or array (the one argument), a mapping (arguments by name), or a tuple or list of arguments.
        inputs: how many leading elements of a tuple or list are arguments, ``None`` for all; what follows, such as labels, is dropped.
        where: names the batch in messages.

    Raises:
        CalibrationError: the batch is something else, or holds an array that no tensor can.
    """
    if isinstance(batch, (paddle.Tensor, np.ndarray)):
        return (_as_tensors(batch, where),), {}
    if isinstance(batch, Mapping):
        return (), {key: _as_tensors(value, where) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(_as_tensors(item, where) for item in batch[:inputs]), {}
    raise CalibrationError(
        f"{where} is of type {type(batch).__name__}; a loader must yield tensors, arrays, tuples, lists or dicts, "
        "or input_fn must make one of them"
    )


def check_not_empty(call: Call, where: str) -> None:
    """Raises ``CalibrationError``, with the tensors' shapes, for a call without samples.

    Those are calls whose first tensor, which counts the samples, has a first dimension of size 0, and those whose tensors hold no
    value at all.  Another input may be empty: a cache is before the first step.
    """
    tensors = tensors_in(call)
    if tensors and (tensors[0].shape[:1] == [0] or all(tensor.size == 0 for tensor in tensors)):
        raise CalibrationError(
            f"{where} ({describe(call)}) is empty: there is nothing to calibrate with; leave such batches out of the data, "
            "and check what shards, filters or slices it"
        )


def describe(call: Call) -> str:
    """Dtypes and shapes of the call's tensors, such as ``float32 [4, 3, 8, 8], int64 [4]``."""
    return ", ".join(f"{str(item.dtype).rpartition('.')[2]} {list(item.shape)}" for item in tensors_in(call)) or "no tensor"


def required_inputs(model: nn.Layer) -> int | None:
    """How many arguments ``forward`` needs, at least one: its parameters without defaults; ``None`` when it takes ``*args``."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(1, sum(parameter.kind in positional and parameter.default is parameter.empty for parameter in parameters))


def digest(nest: Any) -> str:
    """16 hexadecimal digits from the structure, dtypes, shapes and values of all tensors and arrays in ``nest``."""
    found = hashlib.sha256()
    _update(found, nest)
    return found.hexdigest()[:16]


def _as_tensors(nest: Any, where: str) -> Any:
    """``nest`` with tensors in place of arrays; float64 ones, which is what NumPy makes by default, become float32."""
    return map_nest(lambda value: _as_tensor(value, where), nest)


def _as_tensor(value: Any, where: str) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "bifuc":
            raise CalibrationError(f"{where} holds an array of dtype {value.dtype}; convert it to numbers, for example in input_fn")
        return paddle.to_tensor(value.astype(np.float32) if value.dtype == np.float64 else value)
    return value


def _update(found: Any, nest: Any) -> None:
    if isinstance(nest, paddle.Tensor):
        found.update(f"tensor {nest.dtype} {tuple(nest.shape)} ".encode())
        found.update(nest.numpy().tobytes())
    elif isinstance(nest, Mapping):
        found.update(f"dict {len(nest)} ".encode())
        for key in sorted(nest, key=str):
            found.update(f"{key!r} ".encode())
            _update(found, nest[key])
    elif isinstance(nest, (tuple, list)):
        found.update(f"{type(nest).__name__} {len(nest)} ".encode())
        for item in nest:
            _update(found, item)
    else:
        # An object's own text may hold its address, which differs between processes.
        text = repr(nest) if isinstance(nest, (bool, int, float, str, type(None))) else type(nest).__name__
        found.update(f"value {text} ".encode())
