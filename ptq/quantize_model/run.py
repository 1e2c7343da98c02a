"""`quantize_model`: load, check, quantize, calibrate and convert, one after the other."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..calibration.run import calibrate
from ..config.config import PLACEMENTS, PTQConfig, check_target, default_ptq_config
from ..imperative import ImperativePTQ
from ..programs import load_program
from ..reports.check import check
from ..reports.coverage import coverage
from .inputs import Inputs, Peeked
from .report import QuantizeReport
from .result import QuantizeResult
from .steps import Steps

__all__ = ["quantize_model"]


def quantize_model(
    model: nn.Layer | str | os.PathLike[str],
    data: Iterable[Any],
    config: PTQConfig | None = None,
    *,
    placement: str | None = None,
    target: str | None = None,
    input_spec: Sequence[Any] | None = None,
    input_fn: Callable[[Any], Any] | None = None,
    max_batches: int | None = None,
    fuse: bool = True,
    progress: bool = True,
) -> QuantizeResult:
    """Quantizes a model, or a saved program, in one call; the model itself is left as it was.

    Args:
        model: a layer in dynamic mode, or what `load_program` opens: prefix, file or folder of a saved program.
        data: calibration data, an iterable of batches as for `calibrate`: arrays or tensors, tuples (labels behind the inputs are
            dropped) or dicts by argument; for a saved program dicts by the names of its inputs, of which it takes those that it needs.
        config: quantizers and settings; ``PTQConfig()`` when ``None``.
        placement: ``"compute"`` or ``"full"``; that of the config when ``None``.
        target: the runtime that the grids of placement ``"full"`` are for; that of the config when ``None``.
        input_spec: `InputSpec`s or example tensors of ``forward``'s arguments, to trace and to save the model with; by default what the
            file of a saved program says, else the shapes that calibration sees, first dimension free.
        input_fn: makes of a batch what to pass instead, see `calibrate`.
        max_batches: stop after that many.
        fuse: fold batch norms into the layers before them.
        progress: show progress on stderr where that is a terminal.

    Returns:
        The quantized model, a report, and `QuantizeResult.save`.

    Raises:
        ProgramError: the path is of no saved program that can be opened; see `load_program`.
        ModelError: the model cannot be quantized as it is; see `ImperativePTQ.quantize`.
        CalibrationError: the data does not fit the model, or holds NaN; ``NoCalibrationDataError``: there is none.
        ConfigError: an argument is not usable.
    """
    chosen = _config(config, placement, target)
    steps = Steps(progress)
    source = type(model).__name__
    if not isinstance(model, nn.Layer):
        source = _path(model)
        with steps("load", source):
            model = load_program(source)
    inputs, batches = Inputs(model, input_fn), Peeked(data)
    with steps("check"):
        findings = check(model, list(input_spec) if input_spec is not None else inputs.example(batches.first))
    engine = ImperativePTQ(chosen)
    with steps("quantize"):
        prepared = engine.quantize(model, fuse=fuse, input_spec=input_spec)
    with steps("calibrate"):
        calibrate(prepared, batches, max_batches, inputs, progress)
    with steps("convert"):
        converted = engine.convert(prepared)
        ledger = coverage(converted)
    report = QuantizeReport(source, chosen.placement, findings, inputs.samples, inputs.batches, ledger, steps.seconds, chosen.target)
    return QuantizeResult(converted, report, inputs.program_spec if input_spec is None else input_spec)


def _config(config: PTQConfig | None, placement: str | None, target: str | None) -> PTQConfig:
    found = default_ptq_config if config is None else config
    if not isinstance(found, PTQConfig):
        raise ConfigError(f"config must be a PTQConfig, got {config!r}")
    if placement is None and target is None:
        return found
    if placement is not None and placement not in PLACEMENTS:
        raise ConfigError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}")
    found = copy.deepcopy(found)
    found.placement = found.placement if placement is None else placement
    found.target = found.target if target is None else target
    check_target(found.target, found.placement)
    return found


def _path(model: Any) -> str:
    if not isinstance(model, (str, os.PathLike)) or not isinstance(os.fspath(model), str) or not os.fspath(model):
        raise ConfigError(f"model must be a paddle.nn.Layer or the path of a saved program, got {model!r}")
    return os.fspath(model)
