"""What calibration has seen of a model's calls: how many, their shapes, and the first of them whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

from ..util.nests import map_nest, map_tensors, tensors_in
from .call_spec import merge_specs

__all__ = ["Call", "Sample", "Seen", "free_batch"]

Call = tuple[tuple[Any, ...], dict[str, Any]]

SAMPLE_ITEMS = 64
SAMPLE_BYTES = 16 << 20


def free_batch(tensor: paddle.Tensor) -> InputSpec:
    """The spec of a tensor with its first dimension free."""
    shape = [None, *tensor.shape[1:]] if tensor.ndim else []
    return InputSpec(shape, tensor.dtype)


@dataclass(frozen=True)
class Sample:
    """One call that was kept: ``arrays`` is ``(args, kwargs)`` with NumPy arrays for tensors, ``spec`` the same with `InputSpec`s."""

    arrays: Call
    spec: Call

    @classmethod
    def of(cls, call: Call) -> Sample:
        """A copy of a call's tensors."""
        return cls(map_tensors(_to_array, call), map_tensors(free_batch, call))

    def call(self) -> Call:
        """The arguments again, tensors with the dtypes that they had."""
        restored: Call = map_nest(restore, self.spec, self.arrays)
        return restored


class Seen:
    """The calls of one model under calibration.

    Attributes:
        batches: calls of the model so far.
        items: size of the first dimension of the model's first input in the current call, ``None`` when unknown.
        samples: the first calls, kept for comparing rules and for checking what is saved: whole batches up to `SAMPLE_ITEMS` items and
            `SAMPLE_BYTES` bytes, at least one.  They are the user's data, so a pickle is without them.
        first_spec: arguments of the first call with `InputSpec`s of its own sizes for tensors.
        input_spec: arguments of the calls with `InputSpec`s for tensors; a dimension that varied is free, so is the batch.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.is_paused = False
        self.items: int | None = None
        self.samples: list[Sample] = []
        self.first_spec: Call | None = None
        self.input_spec: Call | None = None
        self._sample_items = 0
        self._sample_bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "samples": []}

    def __deepcopy__(self, memo: Any) -> Seen:
        copied = Seen()
        memo[id(self)] = copied
        vars(copied).update(vars(self), samples=list(self.samples))  # nobody changes a sample or a spec
        return copied

    def begin_batch(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Notes a call of the model."""
        self.batches += 1
        call = (tuple(args), dict(kwargs))
        tensors = tensors_in(call)
        self.items = tensors[0].shape[0] if tensors and tensors[0].ndim else None
        spec = map_tensors(free_batch, call)
        if self.first_spec is None:
            self.first_spec = map_tensors(lambda tensor: InputSpec(tensor.shape, tensor.dtype), call)
        self.input_spec = spec if self.input_spec is None else merge_specs(self.input_spec, spec)
        self._sample_items += self.items or 1
        self._sample_bytes += sum(tensor.size * tensor.element_size() for tensor in tensors)
        if not self.samples or (self._sample_items <= SAMPLE_ITEMS and self._sample_bytes <= SAMPLE_BYTES):
            self.samples.append(Sample.of(call))

    def forget_samples(self) -> None:
        """Lets the kept calls go; later ones are kept anew, up to the limits."""
        self.samples.clear()
        self._sample_items = self._sample_bytes = 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While entered, calls of the model are not calibration."""
        self.is_paused = True
        try:
            yield
        finally:
            self.is_paused = False

    def where(self, layer: str, side: str) -> str:
        """A phrase that locates a tensor: layer, side and batch, batches counted from 0."""
        return f"layer '{layer}' {side}, batch {max(self.batches - 1, 0)}"


def restore(spec: Any, value: Any) -> Any:
    """One argument of a kept call: a tensor with the dtype of its spec, or what was passed."""
    return paddle.to_tensor(value).astype(spec.dtype) if isinstance(spec, InputSpec) else value


def _to_array(tensor: paddle.Tensor) -> np.ndarray:
    if tensor.dtype == paddle.bfloat16:  # NumPy has no bfloat16; float32 holds every value of it
        tensor = tensor.astype("float32")
    return np.array(tensor.numpy())
