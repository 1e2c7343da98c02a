"""`quantize_weights`: weights become integers, activations stay as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import AlreadyQuantizedError, ConfigError

from ..calibration.batches import Call, call_of, check_not_empty
from ..calibration.hooks import is_calibrating
from ..convert.apply import swapped
from ..layers import QuantizedLayer
from ..passes.freeze_weights import freeze_weights
from ..programs import Program, load_program
from ..quantize_model.inputs import Inputs, Peeked
from ..quantize_model.steps import Steps
from ..registry import PTQRegistry
from ..reports.check import check, require_dynamic_mode
from ..util.messages import warn
from ..util.progress import progress as progress_bar
from .products import call_order, has_products, products_of
from .result import WeightsResult, result_of
from .rounding import InputProducts, rounded_weight
from .select import Layers, layers_to_quantize
from .settings import WITH_DATA, WeightSettings
from .swap import with_twins, working_copy

__all__ = ["opened", "quantize_weights", "spec_of", "twin_of"]


def quantize_weights(
    model: nn.Layer | str | os.PathLike[str],
    *,
    bits: int = 8,
    group_size: int | None = None,
    algorithm: str = "absmax",
    data: Iterable[Any] | None = None,
    layers: Layers = None,
    symmetric: bool | None = None,
    per_channel: bool = True,
    input_spec: Sequence[Any] | None = None,
    input_fn: Callable[[Any], Any] | None = None,
    fuse: bool = True,
    keep_float: bool = False,
    progress: bool = True,
) -> WeightsResult:
    """Stores weights as integers; the layers compute in float, on what the integers stand for.  The model itself is left as it was.

    Called on the result again, with other ``layers``, it quantizes what is still float: 4 bits in Linear, 8 in an embedding.

    Args:
        model: a layer in dynamic mode, or what `load_program` opens: prefix, file or folder of a saved program.
        bits: 2 to 8, or 16.  Up to 4 bits are packed, 2 bits four in a byte, others two.
        group_size: 16, 32, 64, 128 or 256 input features share a grid; ``None``: those of an output channel (row of an embedding) do.
        algorithm: ``"absmax"``: grids that hold the largest number; ``"mse"``: of least squared error; ``"hqq"``: of least error in the
            norm with exponent 0.7 (half-quadratic quantization); ``"gptq"`` and ``"awq"``: by the error of the layer's output on
            ``data``, for Linear and plain Conv2D layers, others get ``"mse"``; ``"log"``: for embeddings, powers of 2**(1/8).
        data: for ``gptq`` and ``awq``: an iterable of batches as `quantize_model` takes them; all of it is held in memory.
        layers: what to quantize: a name, a glob, ``re:`` and an expression, a class of layers, or a list of these; ``None``: all that can.
        symmetric: zero points in the middle of the grid; by default all but blocks of at most 4 bits.
        per_channel: ``False``: one grid for a whole weight.
        input_spec: what the model takes, to save it; that of the file for a saved program.
        input_fn: makes of a batch what to pass instead.
        fuse: fold batch norms where ``input_spec`` is known; the result is then in eval mode.
        keep_float: keep the float layers for ``float_baseline`` until the result is saved.
        progress: show progress on stderr where that is a terminal.

    Returns:
        The model with integer weights, a report, and `WeightsResult.save`.

    Raises:
        ConfigError: an argument is not usable.
        ModelError: nothing can be quantized; ``AlreadyQuantizedError``: the model is being calibrated.
        NonFiniteError: a weight, or what reaches a layer, holds NaN or Inf.
        ProgramError: the path is of no saved program that can be opened.
        NoCalibrationDataError: ``data`` is empty.
    """
    settings = WeightSettings(bits, group_size, algorithm, symmetric, per_channel)
    _check_data(settings, data)
    steps = Steps(progress)
    model, source = opened(model, steps)
    chosen = layers_to_quantize(model, layers, _embeddings if algorithm == "log" else None)
    with steps("check"):
        findings = check(model)
    specs = input_spec or spec_of(model)
    working = working_copy(model, specs, fuse)
    float_layers = {name: layer for name, layer in working.named_sublayers(include_self=True) if name in chosen}
    freeze_weights(float_layers.values())
    with steps("quantize"):
        calls = [] if data is None else _calls(model, data, input_fn)
        twins = _twins(working, float_layers, settings, calls, progress)
    converted = with_twins(working, twins, keep_float=keep_float)
    return result_of(converted, source, settings.describe(), findings, specs, steps.seconds, len(calls))


def opened(model: Any, steps: Steps) -> tuple[nn.Layer, str]:
    """The model, and what reports call it; a path is loaded.

    Raises:
        ConfigError: it is neither a layer nor a path.
        AlreadyQuantizedError: it is being calibrated.
        ModelError: static mode is on.
    """
    require_dynamic_mode()
    if isinstance(model, nn.Layer):
        if is_calibrating(model):
            raise AlreadyQuantizedError(f"{type(model).__name__} is being calibrated: convert it first, or start from the float model")
        return model, type(model).__name__
    if not isinstance(model, (str, os.PathLike)) or not os.fspath(model):
        raise ConfigError(f"model must be a paddle.nn.Layer or the path of a saved program, got {model!r}")
    with steps("load", os.fspath(model)):
        return load_program(os.fspath(model)), os.fspath(model)


def _embeddings(layer: nn.Layer) -> bool:
    return isinstance(layer, nn.Embedding)


def spec_of(model: nn.Layer) -> Sequence[Any] | None:
    """What a saved program takes, as its file says."""
    return model.input_spec if isinstance(model, Program) else None


def _check_data(settings: WeightSettings, data: Any) -> None:
    needs = settings.algorithm in WITH_DATA
    if needs and data is None:
        raise ConfigError(f"algorithm={settings.algorithm!r} goes by what the layers read: pass data, or use 'mse' or 'hqq'")
    if not needs and data is not None:
        raise ConfigError(f"algorithm={settings.algorithm!r} uses no data: leave data out, or use {' or '.join(map(repr, WITH_DATA))}")


def _calls(model: nn.Layer, data: Any, input_fn: Callable[[Any], Any] | None) -> list[Call]:
    arguments = Inputs(model, input_fn)
    found = []
    for number, batch in enumerate(Peeked(data)):
        found.append(call_of(arguments(batch), None, f"batch {number}"))
        check_not_empty(found[-1], f"batch {number}")
    return found


def _twins(
    working: nn.Layer, layers: Mapping[str, nn.Layer], settings: WeightSettings, calls: Sequence[Call], progress: bool
) -> dict[str, QuantizedLayer]:
    names = {layer: name for name, layer in layers.items()}
    twins: dict[str, QuantizedLayer] = {}
    if calls:
        able = [layer for layer in names if has_products(layer)]
        left = [names[layer] for layer in names if layer not in able]
        if left:
            warn(f"{settings.algorithm} is for Linear and plain Conv2D layers; {', '.join(left)} got grids of least squared error")
        for group in progress_bar(call_order(working, able, calls[0]), description=settings.algorithm, enabled=progress):
            # in a copy where the layers before these are quantized already: they make up for what those do
            trial = swapped(working_copy(working), {}) if not twins else _with(working, twins)
            places = {names[layer]: layer for layer in group}
            copies = {name: layer for name, layer in trial.named_sublayers(include_self=True) if name in places}
            found = products_of(trial, list(copies.values()), calls)
            twins |= {name: twin_of(name, layers[name], settings, found.get(copy)) for name, copy in copies.items()}
    rest = {name: layer for name, layer in layers.items() if name not in twins}
    shown = progress_bar(rest.items(), description="weights", enabled=progress)
    return twins | {name: twin_of(name, layer, settings) for name, layer in shown}


def _with(working: nn.Layer, twins: Mapping[str, QuantizedLayer]) -> nn.Layer:
    trial = working_copy(working)
    copies = dict(trial.named_sublayers(include_self=True))
    return swapped(trial, {copies[name]: twin for name, twin in twins.items()})


def twin_of(
    name: str,
    layer: nn.Layer,
    settings: WeightSettings,
    inputs: InputProducts | None = None,
    *,
    whole_bytes: bool = False,
    clip: float | None = None,
) -> QuantizedLayer:
    """The twin of a float layer whose input stays as it comes.

    ``whole_bytes``: few bits are not packed; ``clip``: weights are cut off there first.

    Raises:
        NonFiniteError: a weight holds NaN or Inf.
    """
    info = PTQRegistry.layer_info(layer)
    with paddle.no_grad():
        weights = [
            rounded_weight(
                _clipped(parameter.astype("float32").numpy(), clip),
                info.quant_axis or 0,
                settings,
                inputs,
                f"'{name}.{parameter_name}'",
                whole_bytes,
            )
            for parameter_name, parameter in info.weights_of(layer).items()
        ]
    twin: QuantizedLayer = PTQRegistry.twin_class(layer).from_float(layer, None, *weights)  # type: ignore[attr-defined]
    return twin


def _clipped(weight: Any, clip: float | None) -> Any:
    return weight if clip is None else np.clip(weight, -clip, clip)
