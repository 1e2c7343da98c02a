"""What the calibration of one model has seen so far: batches, input shapes, the first batch, the traced graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

from .graph import Graph

__all__ = ["Observation", "free_batch", "map_tensors"]


def map_tensors(function: Any, nest: Any) -> Any:
    """``nest`` with ``function`` applied to every tensor in its tuples, lists and dicts."""
    if isinstance(nest, paddle.Tensor):
        return function(nest)
    if isinstance(nest, Mapping):
        return {key: map_tensors(function, value) for key, value in nest.items()}
    if type(nest) in (list, tuple):
        return type(nest)(map_tensors(function, item) for item in nest)
    return nest


def free_batch(tensor: paddle.Tensor) -> InputSpec:
    """The spec of a tensor with its first dimension free."""
    shape = [None, *tensor.shape[1:]] if tensor.ndim else []
    return InputSpec(shape, tensor.dtype)


class Observation:
    """State shared by the hooks of one model under calibration.

    Attributes:
        batches: calls of the model so far.
        items: size of the first dimension of the model's first input in the current call, ``None`` when unknown.
        first_batch: arguments of the first call, tensors copied to NumPy arrays: ``(args, kwargs)``.
        input_spec: arguments of the calls with `InputSpec`s for tensors; a dimension that varied is free, so is the batch.
        graph: the traced dataflow, ``None`` when there is none.
        untraced: why there is no graph.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.items: int | None = None
        self.first_batch: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self.input_spec: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self.graph: Graph | None = None
        self.untraced = "the model itself was never called"

    def begin_batch(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Notes a call of the model."""
        self.batches += 1
        call = (tuple(args), dict(kwargs))
        tensors = [item for item in paddle.utils.flatten(call) if isinstance(item, paddle.Tensor)]
        self.items = tensors[0].shape[0] if tensors and tensors[0].ndim else None
        spec = map_tensors(free_batch, call)
        if self.first_batch is None:
            self.first_batch = map_tensors(_to_array, call)
            self.input_spec = spec
        else:
            self.input_spec = _merged(self.input_spec, spec)

    def where(self, layer: str, side: str) -> str:
        """A phrase that locates a tensor: layer, side and batch, batches counted from 0."""
        return f"layer '{layer}' {side}, batch {max(self.batches - 1, 0)}"


def _to_array(tensor: paddle.Tensor) -> np.ndarray:
    if tensor.dtype == paddle.bfloat16:  # NumPy has no bfloat16; float32 holds every value of it
        tensor = tensor.astype("float32")
    return np.array(tensor.numpy())


def _merged(old: Any, new: Any) -> Any:
    """Two specs of the same call in one; dimensions that differ become free."""
    if isinstance(old, InputSpec) and isinstance(new, InputSpec) and len(old.shape) == len(new.shape):
        return InputSpec([a if a == b else None for a, b in zip(old.shape, new.shape, strict=True)], old.dtype)
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        return {key: _merged(value, new[key]) for key, value in old.items()}
    if type(old) in (list, tuple) and type(new) is type(old) and len(old) == len(new):
        return type(old)(_merged(a, b) for a, b in zip(old, new, strict=True))
    return old
