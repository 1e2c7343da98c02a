"""What the calibration of one model has seen so far: batches, input shapes, the first batch, the traced graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

from ..graph.dataflow import Graph

__all__ = ["Observation", "free_batch", "map_tensors", "restore"]

Call = tuple[tuple[Any, ...], dict[str, Any]]

SAMPLE_ITEMS = 64
SAMPLE_BYTES = 16 << 20


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
        samples: the first calls, kept for comparing rules and for checking what is saved: ``(args, kwargs)``, tensors copied to
            NumPy arrays; whole batches up to `SAMPLE_ITEMS` items and `SAMPLE_BYTES` bytes, at least one.
        sample_specs: the same calls with `InputSpec`s for tensors.
        input_spec: arguments of the calls with `InputSpec`s for tensors; a dimension that varied is free, so is the batch.
        graph: the traced dataflow, ``None`` when there is none.
        untraced: why there is no graph.
        folded: names of the batch norms that were folded.
        float_layers: once converted, the float layers and the twins in their place; a copy or pickle of the model is without.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.is_paused = False
        self.items: int | None = None
        self._sample_items = 0
        self._sample_bytes = 0
        self.samples: list[Call] = []
        self.sample_specs: list[Call] = []
        self.input_spec: Call | None = None
        self.graph: Graph | None = None
        self.untraced = "the model itself was never called"
        self.folded: list[str] = []
        self.float_layers: list[tuple[Any, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "float_layers": []}

    def begin_batch(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Notes a call of the model."""
        self.batches += 1
        call = (tuple(args), dict(kwargs))
        tensors = [item for item in paddle.utils.flatten(call) if isinstance(item, paddle.Tensor)]
        self.items = tensors[0].shape[0] if tensors and tensors[0].ndim else None
        spec = map_tensors(free_batch, call)
        self.input_spec = spec if self.input_spec is None else _merged(self.input_spec, spec)
        self._keep_sample(call, spec, tensors)

    def _keep_sample(self, call: Call, spec: Call, tensors: Sequence[paddle.Tensor]) -> None:
        self._sample_items += self.items or 1
        self._sample_bytes += sum(tensor.size * tensor.element_size() for tensor in tensors)
        if not self.samples or (self._sample_items <= SAMPLE_ITEMS and self._sample_bytes <= SAMPLE_BYTES):
            self.samples.append(map_tensors(_to_array, call))
            self.sample_specs.append(spec)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While entered, calls of the model are not calibration."""
        self.is_paused = True
        try:
            yield
        finally:
            self.is_paused = False

    @property
    def first_batch(self) -> Call | None:
        """Arguments of the first call, tensors as NumPy arrays: ``(args, kwargs)``."""
        return self.samples[0] if self.samples else None

    def where(self, layer: str, side: str) -> str:
        """A phrase that locates a tensor: layer, side and batch, batches counted from 0."""
        return f"layer '{layer}' {side}, batch {max(self.batches - 1, 0)}"


def restore(value: Any, spec: Any) -> Any:
    """The tensors of a kept call, with the dtypes of their specs."""
    if isinstance(spec, InputSpec):
        return paddle.to_tensor(value).astype(spec.dtype)
    if isinstance(spec, dict):
        return {key: restore(value[key], item) for key, item in spec.items()}
    if type(spec) in (list, tuple):
        return type(spec)(restore(a, b) for a, b in zip(value, spec, strict=True))
    return value


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
