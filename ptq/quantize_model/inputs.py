"""From what the data yields to the arguments of the model, counted on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError

from ..calibration.batches import call_of, check_not_empty, required_inputs
from ..calibration.seen import Call, Sample
from ..programs import Program
from ..util.nests import leaves, tensors_in

__all__ = ["Inputs", "Peeked"]


class Inputs:
    """Called with a batch, it returns the model's arguments; ``samples`` and ``batches`` count what went through.

    Args:
        model: the float model.
        input_fn: the user's own, applied first; what it returns is passed whole.
        kept_bytes: how much of the calls' tensors to keep.

    Attributes:
        kept: the first calls, as far as they fit ``kept_bytes``.
        program_spec: what a saved program takes; ``None`` for any other model.
    """

    def __init__(self, model: nn.Layer, input_fn: Callable[[Any], Any] | None = None, kept_bytes: int = 0) -> None:
        if input_fn is not None and not callable(input_fn):
            raise ConfigError(f"input_fn must be a function of one batch, got {input_fn!r}")
        self.program_spec: Sequence[Any] | None = model.input_spec if isinstance(model, Program) else None
        self._names = [] if self.program_spec is None else [spec.name for spec in self.program_spec]
        self._inputs = required_inputs(model) if self.program_spec is None else len(self.program_spec)
        self._input_fn = input_fn
        self.samples = self.batches = 0
        self.kept: list[Sample] = []
        self._room = kept_bytes

    def __call__(self, batch: Any) -> Any:
        """The arguments that `calibrate` passes to the model.

        Raises:
            CalibrationError: a dict lacks an input of the program.
        """
        call = self._arguments(batch)
        self.samples += _samples(call)
        self.batches += 1
        if self._room > 0:
            self._keep(call_of(call, None, f"batch {self.batches - 1}"))
        return call

    def _keep(self, call: Call) -> None:
        self._room -= sum(tensor.size * tensor.element_size() for tensor in tensors_in(call))
        if self._room >= 0 or not self.kept:
            self.kept.append(Sample.of(call))

    @staticmethod
    def again(call: Call) -> Any:
        """What `calibrate` passes to the model for a call that was kept."""
        args, kwargs = call
        return kwargs if kwargs else args

    def example(self, batch: Any) -> list[Any] | dict[str, Any]:
        """The arguments that a batch makes, not counted: by position, or by name.

        Raises:
            CalibrationError: no arguments can be made of it, or it is empty.
        """
        call = call_of(self._arguments(batch), None, "batch 0")
        check_not_empty(call, "batch 0")
        args, kwargs = call
        return kwargs or list(args)

    def _arguments(self, batch: Any) -> Any:
        if self._input_fn is not None:
            batch = self._input_fn(batch)
        elif isinstance(batch, (tuple, list)):
            batch = tuple(batch[: self._inputs])
        if self._names and isinstance(batch, Mapping):
            return self._by_name(batch)
        return batch

    def _by_name(self, batch: Mapping[str, Any]) -> tuple[Any, ...]:
        missing = [name for name in self._names if name not in batch]
        if missing:
            raise CalibrationError(
                f"batch {self.batches} has {', '.join(map(str, batch)) or 'nothing'}, but the program takes {', '.join(self._names)}: "
                f"{', '.join(missing)} missing"
            )
        return tuple(batch[name] for name in self._names)


class Peeked:
    """An iterable of batches whose ``first`` is known before it is looped over, once."""

    def __init__(self, data: Any) -> None:
        """Takes the first batch.

        Raises:
            ConfigError: the data is no iterable of batches.
            NoCalibrationDataError: it yields nothing.
        """
        if isinstance(data, (paddle.Tensor, np.ndarray, str, bytes, Mapping)) or not (
            hasattr(data, "__iter__") or hasattr(data, "__getitem__")
        ):
            raise ConfigError(f"data must be an iterable of batches, got {type(data).__name__}; put a single batch into a list")
        if isinstance(data, paddle.io.Dataset) and not isinstance(data, paddle.io.IterableDataset):
            raise ConfigError(
                "data is a Dataset, whose samples have no batch dimension; pass paddle.io.DataLoader(dataset, batch_size=...)"
            )
        self._data, self._rest = data, iter(data)
        try:
            self.first = next(self._rest)
        except StopIteration:
            raise NoCalibrationDataError("the data yields no batch; check the data set and its batch size (drop_last)") from None

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain([self.first], self._rest)

    def __len__(self) -> int:
        length = len(self._data)  # a TypeError says that it has none
        return int(length)


def _samples(call: Any) -> int:
    first = next((item for item in leaves(call) if isinstance(item, (paddle.Tensor, np.ndarray))), None)
    return int(first.shape[0]) if first is not None and len(first.shape) else 1
