"""Runs a subject on data: the answers of both models, and every compute layer alone and in the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import MismatchError, NoCalibrationDataError

from ..compare.difference import Apart
from ..compare.report import Difference
from ..coverage import Row
from .noise import Noise, decibel, power
from .records import LayerRecord, WeightRecord
from .subject import Call, Facts, Float, Subject
from .values import Values

__all__ = ["Measured", "measure"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Measured:
    """What was found: ``samples`` and ``batches`` of the data, the model's ``outputs``, its ``layers`` in order of execution."""

    samples: int
    batches: int
    outputs: tuple[Difference, ...]
    layers: tuple[LayerRecord, ...]


@dataclass
class _Layer:
    values: Values
    input: Noise = field(default_factory=Noise)
    alone: Noise = field(default_factory=Noise)
    total: Noise = field(default_factory=Noise)


def measure(subject: Subject, calls: Iterable[tuple[Call, int]], rows: Mapping[str, Row]) -> Measured:
    """Runs float once and int8 twice for each batch: as it is, and every layer on the float model's tensors.

    Args:
        subject: the two models.
        calls: arguments, and how many samples they hold.
        rows: of the coverage, by the places of the subject's layers.

    Raises:
        NoCalibrationDataError: there is no batch.
        MismatchError: the two models answer other tensors.
    """
    layers: dict[str, _Layer] = {}
    outputs: list[Apart] = []
    samples = batches = 0
    for call, items in calls:
        floats = subject.float_forward(call)
        for name, facts in subject.facts.items():
            if name not in layers:
                layers[name] = _Layer(Values(facts.grid, facts.factors, facts.channel_axis, facts.rule))
        _run(subject, call, items, floats, layers, outputs)
        samples, batches = samples + items, batches + 1
    if not batches:
        raise NoCalibrationDataError("the data yields no batch; check the data set and its batch size")
    records = tuple(_record(name, subject.facts[name], layer, rows.get(name)) for name, layer in layers.items())
    return Measured(samples, batches, tuple(item.finished() for item in outputs), records)


def _run(subject: Subject, call: Call, items: int, floats: Float, layers: dict[str, _Layer], outputs: list[Apart]) -> None:
    signals = {name: power(array) for name, array in floats.outputs.items() if name in layers}

    def see(name: str, array: Array) -> None:
        if name in signals:
            layers[name].total.add(floats.outputs[name], array, signals[name])

    def see_alone(name: str, array: Array) -> None:
        if name in signals:
            layers[name].alone.add(floats.outputs[name], array, signals[name])

    def see_input(name: str, array: Array) -> None:
        if name in floats.inputs and name in layers:
            layers[name].input.add(floats.inputs[name], array)

    for name, array in floats.inputs.items():
        if name in layers:
            layers[name].values.add(array, items)
    answers = subject.int8_forward(call, see)
    subject.alone_forward(call, floats, see_input, see_alone)
    if len(answers) != len(floats.answers) or not answers:
        raise MismatchError(f"the float model answers {len(floats.answers)} tensors, the quantized one {len(answers)}")
    if not outputs:
        outputs += [Apart(str(number), answers=True) for number in range(len(answers))]
    for apart, reference, answer in zip(outputs, floats.answers, answers, strict=True):
        apart.add(reference, answer)


def _record(name: str, facts: Facts, layer: _Layer, row: Row | None) -> LayerRecord:
    tensor = layer.values.record(layer.input.db if facts.grid is not None else None)
    state = row.state if row is not None else ("float" if facts.rounded is None and facts.grid is None else "int8")
    return LayerRecord(
        name,
        facts.op,
        name.rpartition(".")[0],
        state,
        row.reason if row is not None else "",
        row.macs if row is not None else 0,
        layer.alone.db,
        layer.total.db,
        tensor,
        None if facts.weight is None else _weight(facts, facts.weight),
    )


def _weight(facts: Facts, weight: Array) -> WeightRecord:
    by_channel = np.moveaxis(weight, facts.axis, 0).reshape(weight.shape[facts.axis], -1).astype(np.float64)
    lows, highs = (tuple(float(value) for value in found) for found in (by_channel.min(axis=1), by_channel.max(axis=1)))
    if facts.rounded is None or facts.rounded.shape != weight.shape:
        return WeightRecord(tuple(weight.shape), None, None, lows, highs)
    difference = np.moveaxis(weight - facts.rounded, facts.axis, 0).reshape(by_channel.shape).astype(np.float64)
    signal, noise = np.square(by_channel).sum(axis=1), np.square(difference).sum(axis=1)
    by_db = tuple(decibel(float(a), float(b)) for a, b in zip(signal, noise, strict=True))
    total = decibel(float(signal.sum()), float(noise.sum()))
    return WeightRecord(tuple(weight.shape), facts.bits, total, lows, highs, by_db, facts.weight_rule)
