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

__all__ = ["call_of", "digest", "required_inputs"]

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


def _as_tensors(value: Any, where: str) -> Any:
    """``value`` with tensors in place of arrays; float64 ones, which is what NumPy makes by default, become float32."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "bifuc":
            raise CalibrationError(f"{where} holds an array of dtype {value.dtype}; convert it to numbers, for example in input_fn")
        return paddle.to_tensor(value.astype(np.float32) if value.dtype == np.float64 else value)
    if isinstance(value, Mapping):
        return {key: _as_tensors(item, where) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_as_tensors(item, where) for item in value)
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
