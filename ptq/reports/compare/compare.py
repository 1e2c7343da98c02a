"""`compare`: runs two saved models on the same data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from quantizers.errors import CalibrationError, MismatchError, NoCalibrationDataError

from ...programs.taps import compute_taps, tapped
from ...util.nests import tensors_in
from ...util.on_channels import on_channels
from ...util.progress import progress as progress_bar
from .difference import Apart
from .report import CompareReport
from .saved import SavedModel

__all__ = ["compare"]

Array = np.ndarray[Any, Any]


def compare(first: SavedModel, second: SavedModel, data: Iterable[Any], *, progress: bool = True) -> CompareReport:
    """How far the second model's answers are from the first's, and where in the net they part.

    Args:
        first, second: from `open_saved`; the first is the reference.
        data: batches: dicts by the names of the first model's inputs, tuples or arrays.  The second gets them in the same order.
        progress: show a progress bar where stderr is a terminal.

    Raises:
        MismatchError: the models take or answer other tensors than each other, or one fails on the data.
        CalibrationError: a batch lacks an input; ``NoCalibrationDataError``: there is no batch.
    """
    if len(first.inputs) != len(second.inputs):
        raise MismatchError(f"{first.path} takes {len(first.inputs)} inputs, {second.path} {len(second.inputs)}: they are not the same net")
    outputs: list[Apart] = []
    layers = _Layers(first, second)
    samples = 0
    for number, batch in enumerate(progress_bar(data, description="compare", enabled=progress)):
        arrays = _arrays(batch, first, number)
        samples += len(arrays[0]) if arrays and arrays[0].ndim else 1
        _add(outputs, first, second, first(arrays), second(arrays))
        layers.add(arrays)
    if not outputs:
        raise NoCalibrationDataError("the data yields no batch; check the data set and its batch size")
    return CompareReport(
        first.path,
        second.path,
        samples,
        tuple(item.finished() for item in outputs),
        tuple(item.finished() for item in layers.apart),
        layers.note,
    )


def _add(outputs: list[Apart], first: SavedModel, second: SavedModel, reference: list[Array], other: list[Array]) -> None:
    if len(reference) != len(other) or not reference:
        raise MismatchError(f"{first.path} answers {len(reference)} tensors, {second.path} {len(other)}: they are not the same net")
    if not outputs:
        names = first.outputs if len(first.outputs) == len(reference) else []
        outputs += [Apart(names[n] if names else str(n), answers=True) for n in range(len(reference))]
    for apart, a, b in zip(outputs, reference, other, strict=True):
        apart.add(a, b)


class _Layers:
    """Layer by layer: the results of compute operations of two programs, paired in their order."""

    def __init__(self, first: SavedModel, second: SavedModel) -> None:
        self.apart: list[Apart] = []
        self.note = ""
        if first.program is None or second.program is None:
            closed = first if first.program is None else second
            self.note = f"{closed.path} ({closed.kind}) is not opened as layers"
            return
        taps = compute_taps(first.program), compute_taps(second.program)
        if len(taps[0]) != len(taps[1]) or not taps[0]:
            self.note = f"{first.path} computes {len(taps[0])} convolutions and products, {second.path} {len(taps[1])}"
            return
        self._programs = tapped(first.program, taps[0]), tapped(second.program, taps[1])
        self.apart = [Apart(tap.name) for tap in taps[0]]
        self._factors = [[own for _, own in model.channel_factors or ()] for model in (first, second)]

    def add(self, arrays: Sequence[Array]) -> None:
        """One batch; the pairing is given up where shapes differ."""
        if not self.apart:
            return
        tensors = [paddle.to_tensor(array) for array in arrays]
        with paddle.no_grad():
            answers = [[item.numpy() for item in tensors_in([program(*tensors)])] for program in self._programs]
        reference, other = (_in_float_units(*pair) for pair in zip(answers, self._factors, strict=True))
        try:
            for apart, a, b in zip(self.apart, reference, other, strict=False):
                apart.add(a, b)
        except MismatchError as error:
            self.apart, self.note = [], f"their layers do not match: {error}"


def _in_float_units(results: list[Array], factors: Sequence[Array | None]) -> list[Array]:
    """Results of layers without the factors of their channels, which lie on axis 1, or on the last one of products."""
    known = [*factors, *[None] * len(results)] if len(factors) <= len(results) else [None] * len(results)
    return [found if own is None else found / _shaped(own, found) for found, own in zip(results, known, strict=False)]


def _shaped(factors: Array, array: Array) -> Array:
    axis = 1 if array.ndim > 3 or array.shape[-1] != factors.size else -1
    return on_channels(factors, array, axis)


def _arrays(batch: Any, model: SavedModel, number: int) -> list[Array]:
    names = [item.name for item in model.inputs]
    if isinstance(batch, Mapping):
        missing = [name for name in names if name not in batch]
        if missing:
            raise CalibrationError(f"batch {number} has {', '.join(map(str, batch))}, but {model.path} takes {', '.join(names)}")
        values = [batch[name] for name in names]
    else:
        values = list(batch[: len(names)]) if isinstance(batch, (tuple, list)) else [batch]
    try:
        return [item.cast(np.asarray(value)) for item, value in zip(model.inputs, values, strict=False)]
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"batch {number} is nothing that arrays can be made of: {error}") from error
