"""`report`: measures, asks the rules, writes the page."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import CalibrationError, ConfigError

from ...calibration.batches import call_of, check_not_empty, digest
from ...quantize_model.inputs import Inputs, Peeked
from ...runtimes.cpu import this_cpu
from ...util.json_file import read_json
from ...util.nests import tensors_in
from ..accuracy import LayerRecord, Measured, measure
from ..advice import Evidence, advise
from .content import Report, plain
from .kernels import Profile, run_profile
from .schema import FORMAT, VERSION, check_content
from .source import Source, source_of
from .verdict import verdict

__all__ = ["report"]

MAX_SAMPLES = 256
Metric = Callable[[nn.Layer], float]


def report(
    quantized: Any,
    data: Iterable[Any],
    *,
    float_model: Any = None,
    path: str | os.PathLike[str] | None = "report.html",
    metric: Metric | None = None,
    profile: bool = False,
    compare: str | os.PathLike[str] | Report | Mapping[str, Any] | None = None,
    input_fn: Callable[[Any], Any] | None = None,
    max_samples: int = MAX_SAMPLES,
    title: str | None = None,
    reproduce: str = "",
) -> Report:
    """Says where int8 hurts, where it is slow, and what to do: one page, its JSON beside it, and a summary for logs.

    Each batch costs one forward of the float model and two of the quantized one.

    Args:
        quantized: what `quantize_model` returned, a converted model, or the prefix of a saved one.
        data: batches as for `quantize_model`; better others than those that calibrated.
        float_model: the float model; needed for a prefix (the path of the saved program that it was made of), and for a model that does
            not keep its float layers any more (a copy, or one that was saved).
        path: of the page; the JSON gets the same name with ``.json``.  ``None``: nothing is written.
        metric: a figure of a model, larger is better, such as its accuracy; called with the float and with the quantized model.
        profile: run both in ONNX Runtime and tell kernels and times (extra ``onnx``).
        compare: another report of the same net, or the path of its JSON: the page shows what changed.
        input_fn: makes of a batch what to pass instead, as in `calibrate`.
        max_samples: stop after that many.
        title: of the page; by default the name of the model.
        reproduce: the command or code that made the result, to be shown.

    Returns:
        The report: ``findings``, ``layers`` (worst first), ``to_json()``, ``str()``.

    Raises:
        ConfigError: an argument is not usable.
        ModelError: the model is not converted, or the float model is not known.
        CalibrationError: the data does not fit the model; ``NoCalibrationDataError``: there is none.
        ArtifactError: a file is missing, damaged, or cannot be written.
        MissingExtraError: the profile needs an extra that is not installed.
    """
    if isinstance(max_samples, bool) or not isinstance(max_samples, int) or max_samples < 1:
        raise ConfigError(f"max_samples must be a whole number of at least 1, got {max_samples!r}")
    other = _other(compare)
    source = source_of(quantized, float_model)
    calls = _Calls(source.takes, data, input_fn, max_samples)
    measured = measure(source.subject, calls, source.rows)
    profiled = run_profile(source, measured.layers, calls.arrays) if profile else None
    made = _report(source, measured, profiled, calls.fingerprint, _metric(metric, source), title, reproduce, other)
    if path is None:
        return made
    page = Path(os.fspath(path))
    made.to_html(page)
    made.to_json(page.with_suffix(".json"))
    return Report(made.findings, made.layers, made.outputs, made.content, made.other, os.fspath(path))


class _Calls:
    """The model's arguments, batch by batch; ``fingerprint`` of all that were used; ``arrays``: the first call's tensors."""

    def __init__(self, model: nn.Layer, data: Any, input_fn: Callable[[Any], Any] | None, most: int) -> None:
        self._inputs, self._data, self._most = Inputs(model, input_fn), Peeked(data), most
        self._digests: list[str] = []
        self.arrays: list[np.ndarray] = []

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        for number, batch in enumerate(self._data):
            before = self._inputs.samples
            call = call_of(self._inputs(batch), None, f"batch {number}")
            check_not_empty(call, f"batch {number}")
            if not tensors_in(call):
                raise CalibrationError(f"batch {number} holds no tensor")
            self._digests.append(digest(call))
            if not self.arrays:
                self.arrays = [tensor.numpy() for tensor in tensors_in(call)]
            yield call, self._inputs.samples - before
            if self._inputs.samples >= self._most:
                return

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.sha256(" ".join(self._digests).encode()).hexdigest()[:16]


def _other(compare: Any) -> dict[str, Any] | None:
    if compare is None:
        return None
    if isinstance(compare, Report):
        return compare.content
    if isinstance(compare, Mapping):
        return check_content(dict(compare))
    return check_content(read_json(compare), os.fspath(compare))


def _metric(metric: Metric | None, source: Source) -> tuple[str, float, float] | None:
    if metric is None:
        return None
    if not callable(metric):
        raise ConfigError(f"metric must be a function of a model, got {metric!r}")
    name = getattr(metric, "__name__", "metric").strip("<>")
    return name, float(metric(source.float_model)), float(metric(source.model))


def _report(
    source: Source,
    measured: Measured,
    profiled: Profile | None,
    fingerprint: str,
    metric: tuple[str, float, float] | None,
    title: str | None,
    reproduce: str,
    other: dict[str, Any] | None,
) -> Report:
    layers = measured.layers if profiled is None else profiled.layers
    ledger, calibrated = source.ledger, source.calibrated
    samples = None if calibrated is None else calibrated["samples"] or None
    findings = advise(Evidence(layers, measured.outputs, source.placement, samples, ledger))
    speed = None if profiled is None else profiled.speed
    bytes_ = None if ledger is None else (ledger.float_bytes, ledger.bytes)
    shares = None if ledger is None else (ledger.int8_macs, ledger.macs)
    name = source.title if title is None else title
    sentences = verdict(
        name,
        measured.outputs,
        findings,
        placement=source.placement,
        samples=measured.samples,
        shares=shares,
        bytes_=bytes_,
        metric=metric,
        speed=speed,
        recovery=source.recovery,
    )
    content = {
        "title": name,
        "data": {"samples": measured.samples, "batches": measured.batches, "fingerprint": fingerprint},
        "reproduce": reproduce,
        "outputs": measured.outputs,
        "metric": None if metric is None else dict(zip(("name", "float", "int8"), metric, strict=True)),
        "bytes": None if bytes_ is None else {"float": bytes_[0], "int8": bytes_[1]},
        "speed": speed,
        "verdict": [sentence._asdict() for sentence in sentences],
        "findings": [finding.to_dict() for finding in findings],
        "layers": layers,
        **_origin(source),
    }
    if profiled is not None and profiled.note:
        content["notes"] = [*source.notes, profiled.note]
    return Report(findings, _worst_first(layers), measured.outputs, plain(content), other)


def _origin(source: Source) -> dict[str, Any]:
    """What the JSON holds that was known before anything was measured."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": _made(),
        "placement": source.placement,
        "calibrated": source.calibrated,
        "check": source.check,
        "coverage": None if source.ledger is None else source.ledger.to_dict(),
        "recovery": source.recovery,
        "graph": {"nodes": source.nodes, "edges": [list(pair) for pair in source.edges]} if source.nodes else None,
        "notes": source.notes,
    }


def _worst_first(layers: tuple[LayerRecord, ...]) -> tuple[LayerRecord, ...]:
    return tuple(sorted(layers, key=lambda layer: float("inf") if layer.alone_db is None else layer.alone_db))


def _made() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("paddle-ptq")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "paddle-ptq": own,
        "paddle": str(paddle.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "cpu": this_cpu().name,
    }
