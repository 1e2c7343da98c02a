"""Compares what one runtime makes of an int8 ONNX file with the model in memory and, layer by layer, with the simulated model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import MismatchError

from ...runtimes.cpu import this_cpu
from ...runtimes.onnxruntime import OnnxRuntime
from ...util.compare import sqnr_db
from ...util.extras import import_extra
from ...util.messages import warn
from ..report import RuntimeReport
from ..saturation import told
from .blocks import has_block_products, with_float_sums
from .cut import Place, cut, expose, feeding, places_of
from .halved import halve_weights
from .kernels import kernels
from .runtime import Runtime

__all__ = ["ENOUGH_DB", "check_runtime"]

# At this distance and above, answers are as close as integer kernels and float simulation ever are.
ENOUGH_DB = 35.0
# Below this, answers are not those of one model.
UNRELATED_DB = 3.0
# Samples that are compared layer by layer: all inner values of the model are held in memory for them.
FEW = 2


def check_runtime(
    file: str,
    model: Any,
    runtime: Runtime,
    inputs: Mapping[str, np.ndarray],
    expected: Sequence[np.ndarray],
    simulated: Path | None,
    by_layer: bool = False,
    saturates: bool = False,
    for_halved: Runtime | None = None,
) -> RuntimeReport:
    """The report of one runtime, see `check.check_onnx`; ``inputs`` by name.

    ``saturates``: the runtime's kernels do on this processor, so layers are compared with halved weights, in ``for_halved`` where the
    runtime itself takes no other weights than those of its file.
    """
    outputs = runtime.run(model.SerializeToString(), inputs)
    answers = [outputs[item.name] for item in model.graph.output]
    shapes = [[list(array.shape) for array in arrays] for arrays in (answers, expected)]
    if shapes[0] != shapes[1]:
        other = f"{file}: {runtime.name} answers with shapes {shapes[0]}, the model in memory with {shapes[1]}"
        return RuntimeReport(runtime.name, float("-inf"), (), (), other)
    reported = distance = min((sqnr_db(e, a) for e, a in zip(expected, answers, strict=True)), default=float("inf"))
    found, notes = kernels(model, runtime, inputs)
    mismatch = ""
    if distance < ENOUGH_DB and has_block_products(model):
        exact = runtime.run(with_float_sums(model).SerializeToString(), inputs, plain=True)
        close = min(sqnr_db(e, exact[item.name]) for e, item in zip(expected, model.graph.output, strict=True))
        notes.append(f"  with activations in float: {close:.1f} dB; the rest is what rounding them to 8 bits in blocks costs")
        by_layer, distance = by_layer and close < ENOUGH_DB, max(distance, min(close, ENOUGH_DB))
    if (distance < ENOUGH_DB or by_layer) and simulated is not None:
        reference = import_extra("onnx", "onnx").load(str(simulated))
        try:
            pair = (halve_weights(model), halve_weights(reference)) if saturates else (model, reference)
            used = for_halved if saturates and for_halved is not None else runtime
            notes.append(_layer_by_layer(file, pair[0], used, _few(model, inputs), pair[1], saturates))
            notes.append(_conversion(file, reference, inputs, expected))
        except MismatchError as error:
            mismatch = str(error)
    elif distance < ENOUGH_DB:
        notes.append(f"  below {ENOUGH_DB:.0f} dB, and not compared layer by layer: the simulated model is not at hand")
    if saturates and not mismatch and float("-inf") < distance < ENOUGH_DB:
        warn(f"{file}: {told(runtime.name, this_cpu(), distance)}")
        notes.append(f"  {told(runtime.name, this_cpu(), distance)}")
    return RuntimeReport(runtime.name, reported, found, tuple(notes), mismatch)


def _few(model: Any, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The first samples, where every input has a free first dimension."""
    shapes = [item.type.tensor_type.shape.dim for item in model.graph.input]
    if not all(len(shape) and not shape[0].HasField("dim_value") for shape in shapes):
        return inputs
    return {name: array[:FEW] for name, array in inputs.items()}


def _conversion(file: str, reference: Any, inputs: Mapping[str, np.ndarray], expected: Sequence[np.ndarray]) -> str:
    """Says how far the simulated model in ONNX is from the model in memory; raises where they have nothing in common.

    Both compute in float32, and differ where sums in another order flip a rounding.
    """
    values = OnnxRuntime().run(reference.SerializeToString(), inputs, plain=True)
    distance = min(sqnr_db(e, values[item.name]) for e, item in zip(expected, reference.graph.output, strict=True))
    if distance < UNRELATED_DB:
        raise MismatchError(f"{file}: paddle2onnx made another model of it: float ONNX and the model in memory are {distance:.1f} dB apart")
    return f"  the same quantization simulated in float, in ONNX: {distance:.1f} dB against the model in memory"


def _layer_by_layer(file: str, model: Any, runtime: Runtime, inputs: Mapping[str, np.ndarray], reference: Any, halved: bool) -> str:
    """Says how far layers that are fed alike are apart; raises where one is more than a step of its grid away."""
    places, unread = places_of(model, reference), list[Place]()
    suspect: Place | None = None
    while True:
        answers, values = _fed_alike(model, runtime, inputs, reference, places)
        steps = [np.abs(answers[place.integers].reshape(values[place.value].shape) - place.steps(values[place.value])) for place in places]
        wrong = next((place for place, apart in zip(places, steps, strict=True) if apart.max(initial=0) > 1), None)
        # what stays wrong without reading what is in front of it is wrong
        before = feeding(reference, wrong, places) if wrong is not None and wrong != suspect else []
        if not before or not _reading_disturbs(model, runtime, inputs, answers):
            break
        suspect, unread, places = wrong, unread + before, [place for place in places if place not in before]
    for place, apart in zip(places, steps, strict=True):
        _compare(file, runtime, place, apart)
    on_grid = {place.value for place in places}
    for name in (item.name for item in reference.graph.output if item.name not in on_grid):
        _compare_output(file, runtime, name, answers[name], values[name])
    shares = ((float(np.mean(apart)), place.name) for place, apart in zip(places, steps, strict=True))
    share, worst = max(shares, default=(0.0, ""), key=lambda pair: pair[0])
    where = f", most of them at {worst} ({share:.2%} of its values)" if share > 0 else ""
    count = next((array.shape[0] for array in inputs.values() if array.ndim), 1)
    samples = f"on {count} sample{'s' * (count != 1)}{', with weights halved to 7 bits, which saturate nowhere' if halved else ''}"
    if unread:
        where += f"; without {', '.join(place.name for place in unread)}: read from outside, the runtime fuses and answers otherwise"
    return (
        f"  compared layer by layer {samples}: single roundings flip, which the model may amplify; "
        f"fed alike, each of {len(places)} grids is met within one step{where}"
    )


def _fed_alike(
    model: Any, runtime: Runtime, inputs: Mapping[str, np.ndarray], reference: Any, places: Sequence[Place]
) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """The runtime's outputs and integers at these places, and what the simulated model makes of each where it is fed these."""
    answers = runtime.run(expose(model, [place.integers for place in places]).SerializeToString(), inputs)
    pieces, given = cut(reference, {place.value: place.real(answers[place.integers]) for place in places})
    return answers, OnnxRuntime().run(pieces.SerializeToString(), {**inputs, **given}, plain=True)


def _reading_disturbs(model: Any, runtime: Runtime, inputs: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> bool:
    """Whether the runtime answers otherwise when inner values are read: what it fuses depends on them, and is not the model's then."""
    plain = runtime.run(model.SerializeToString(), inputs)
    return not all(np.array_equal(plain[item.name], answers[item.name], equal_nan=True) for item in model.graph.output)


def _compare(file: str, runtime: Runtime, place: Place, apart: np.ndarray) -> None:
    """Raises where values are more than a step apart."""
    if apart.max(initial=0) > 1:
        raise MismatchError(
            f"{file}: {runtime.name} computes {place.name} differently from the simulated model: fed the same integers, "
            f"{np.mean(apart > 1):.2%} of its values are more than a step of the grid apart, {apart.max()} at most; please report the model"
        )


def _compare_output(file: str, runtime: Runtime, name: str, answer: np.ndarray, expected: np.ndarray) -> None:
    """An output that lies on no grid is held to one step of the 8-bit grid that it would have."""
    if not np.issubdtype(expected.dtype, np.floating):
        return
    step = np.ptp(expected) / 255
    difference = float(np.abs(answer.astype(np.float64) - expected).max(initial=0))
    if not difference <= step:
        raise MismatchError(
            f"{file}: {runtime.name} computes the output {name} differently from the simulated model: fed the same integers, "
            f"it is {difference:.3g} apart, a 255th of its range is {step:.3g}; please report the model"
        )
