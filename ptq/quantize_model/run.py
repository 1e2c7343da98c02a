"""`quantize_model`: load, check, quantize, calibrate, convert and recover, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..calibration.run import calibrate
from ..config.config import PTQConfig
from ..imperative import ImperativePTQ
from ..programs import load_program
from ..recovery.judge import Metric
from ..recovery.progress_line import ProgressLine
from ..recovery.recipes import Recipe
from ..recovery.workbench import MEMORY
from ..registry import PTQRegistry
from ..reports.check import check
from ..reports.coverage import coverage
from ..tuning.conditions import Conditions, runtime_for
from ..tuning.fastest import find_fastest
from .inputs import Inputs, Peeked
from .recover import Plan
from .report import QuantizeReport
from .result import QuantizeResult
from .steps import Steps
from .widths import config_with, with_float_layers, with_placement, with_wide_ends

__all__ = ["quantize_model"]


def quantize_model(
    model: nn.Layer | str | os.PathLike[str],
    data: Iterable[Any],
    config: PTQConfig | None = None,
    *,
    recipe: str | os.PathLike[str] | Recipe | Mapping[str, Any] | None = "balanced",
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    placement: str | None = None,
    target: str | None = None,
    max_float_macs: float = 0.0,
    metric: Metric | None = None,
    time_budget: float | None = None,
    seed: int = 0,
    resume: str | os.PathLike[str] | None = None,
    input_spec: Sequence[Any] | None = None,
    input_fn: Callable[[Any], Any] | None = None,
    max_batches: int | None = None,
    fuse: bool = True,
    memory: int = MEMORY,
    progress: bool = True,
    tuning: Conditions | None = None,
) -> QuantizeResult:
    """Quantizes a model, or a saved program, in one call; the model itself is left as it was.

    Args:
        model: a layer in dynamic mode, or what `load_program` opens: prefix, file or folder of a saved program.
        data: calibration data, an iterable of batches as for `calibrate`: arrays or tensors, tuples (labels behind the inputs are
            dropped) or dicts by argument; for a saved program dicts by the names of its inputs, of which it takes those that it needs.
        config: quantizers and settings; ``PTQConfig()`` when ``None``.
        recipe: what wins accuracy back: ``"fast"``, ``"balanced"``, ``"best"``, a recipe of one's own or the path of its JSON file;
            ``None`` for nothing.  A recipe fits on a part of the samples and keeps a step where the others, at least 16, show that it
            gains more than twice its standard error; with fewer than 32 samples none is run, and the report says so.
        weight_bits: 2..8, as the config says when ``None``.
        activation_bits: 4..16, as the config says when ``None``.  Below 8 bits the layers at the model's ends keep 8, unless an override
            of the config says otherwise.
        placement: ``"compute"``, ``"full"`` or ``"fastest"``; that of the config when ``None``.  With ``"fastest"`` the model is made as
            with ``"full"``, timed layer by layer in the target's runtime (ONNX Runtime for ``"any"``), and what int8 makes slower there is
            left float; where nothing is faster, all of it, with a warning.
        target: the runtime that the grids of these two are for; that of the config when ``None``.
        max_float_macs: the share of multiply-accumulates, 0 to 1, that may be left float, in the layers where rounding costs most.
        metric: of the float model's and the quantized model's answers to held-back samples, larger is better, see
            `ptq.recovery.judge.Metric`; by default the mean signal-to-noise ratio of the outputs in dB.
        time_budget: seconds for the recipe; when they are over, the best model so far is returned.
        seed: of every random choice.
        resume: path of a file that holds the recipe's state after each step; a killed run goes on from there.
        input_spec: `InputSpec`s or example tensors of ``forward``'s arguments, to trace and to save the model with; by default what the
            file of a saved program says, else the shapes that calibration sees, first dimension free.
        input_fn: makes of a batch what to pass instead, see `calibrate`.
        max_batches: stop after that many.
        fuse: fold batch norms into the layers before them.
        memory: bytes that a recipe may use for samples, sums and features.
        progress: show progress on stderr where that is a terminal.
        tuning: batch sizes, threads and float precision that placement ``"fastest"`` measures with; batches 1 and 8, one thread and what
            the runtime itself chooses when ``None``.

    Returns:
        The quantized model, a report, and `QuantizeResult.save`.

    Raises:
        ProgramError: the path is of no saved program that can be opened; see `load_program`.
        ModelError: the model cannot be quantized as it is; see `ImperativePTQ.quantize`.
        CalibrationError: the data does not fit the model, or holds NaN; ``NoCalibrationDataError``: there is none.
        ConfigError: an argument is not usable.
        MissingExtraError: the runtime to measure in is not installed.
    """
    chosen = config_with(config, placement, target, weight_bits, activation_bits)
    placement, conditions = chosen.placement, Conditions() if tuning is None else tuning
    if not isinstance(conditions, Conditions):
        raise ConfigError(f"tuning must be ptq.tuning.Conditions or None, got {tuning!r}")
    if placement == "fastest":
        runtime_for(chosen.target, conditions)
        chosen = with_placement(chosen, "full")
    plan = Plan.of(recipe, max_float_macs, metric, time_budget, seed, resume, memory, progress)
    steps = Steps(progress)
    source = type(model).__name__
    if not isinstance(model, nn.Layer):
        source = _path(model)
        with steps("load", source):
            model = load_program(source)
    inputs, batches = Inputs(model, input_fn, plan.memory // 2 if plan.needs_samples else 0), Peeked(data)
    with steps("check"):
        example = inputs.example(batches.first)
        findings = check(model, list(input_spec) if input_spec is not None else example)
    with steps("quantize"):
        chosen = with_wide_ends(chosen, model, inputs.example(batches.first))
        prepared = ImperativePTQ(chosen).quantize(model, fuse=fuse, input_spec=input_spec)
    with steps("calibrate"):
        calibrate(prepared, batches, max_batches, inputs, progress)
    with steps("convert"):
        converted = ImperativePTQ(chosen).convert(prepared, inplace=placement != "fastest")
    notes: list[str] = []
    if max_float_macs and plan.has_enough(inputs.kept, notes):
        with steps("float layers"):
            found = plan.float_layers(converted, inputs.kept)
            notes.append(str(found))
            if found.names:
                chosen = with_float_layers(chosen, found.names)
                prepared = ImperativePTQ(chosen).quantize(model, fuse=fuse, input_spec=input_spec)
                calibrate(prepared, [sample.call() for sample in inputs.kept], input_fn=inputs.again, progress=progress)
                converted = ImperativePTQ(chosen).convert(prepared, inplace=placement != "fastest")
    spec, tuned, ladder = inputs.program_spec if input_spec is None else input_spec, None, None
    if placement == "fastest":
        with steps("fastest"):
            line = ProgressLine(progress)
            tuned = find_fastest(prepared, ImperativePTQ(chosen), conditions, spec, line)
            line.clear()
            converted = tuned.model
    if plan.recipe is not None and _is_quantized(converted, notes) and plan.has_enough(inputs.kept, notes):
        with steps("recover"):
            ladder = plan.climb(converted, inputs.kept)
    ledger = coverage(converted)
    report = QuantizeReport(
        source,
        placement,
        findings,
        inputs.samples,
        inputs.batches,
        ledger,
        steps.seconds,
        chosen.target,
        ladder,
        tuple(dict.fromkeys(notes)),
        None if tuned is None else tuned.report,
    )
    return QuantizeResult(converted, report, spec)


def _is_quantized(model: nn.Layer, notes: list[str]) -> bool:
    """Whether there is anything to recover; if not, ``notes`` gets a line that says so."""
    found = any(map(PTQRegistry.is_quantized_layer, model.sublayers(include_self=True)))
    if not found:
        notes.append("no recovery was tried: all layers are float")
    return found


def _path(model: Any) -> str:
    if not isinstance(model, (str, os.PathLike)) or not isinstance(os.fspath(model), str) or not os.fspath(model):
        raise ConfigError(f"model must be a paddle.nn.Layer or the path of a saved program, got {model!r}")
    return os.fspath(model)
