"""What a report can be made of: a result, a converted model, or saved files; each becomes the same `Source`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError, ModelError, TraceError

from ...calibration.batches import digest
from ...calibration.state import state_of
from ...export.save import LEDGER_SUFFIX
from ...programs import Program
from ...quantize_model import QuantizeResult
from ...util.messages import last_line
from ..accuracy import ProgramSubject, Subject, TwinSubject
from ..accuracy.twin_subject import float_of
from ..compare.saved import SavedModel, open_saved
from ..coverage import Ledger, Row, coverage
from ..coverage.flow import flow

__all__ = ["Source", "source_of"]


@dataclass
class Source:
    """A pair of models and all that is known of them.

    Attributes:
        subject: to be measured; ``takes``: the model whose arguments the data make.
        float_model, model: both, to be called.
        title, placement: for people; prefix, float_prefix: of saved files, empty for none.
        rows: of the coverage, by the subject's places; ledger: the coverage.
        nodes, edges: the network: sites, and pairs of their numbers.
        calibrated, check, recovery: as in the JSON; notes: what could not be told, and why.
    """

    subject: Subject
    takes: nn.Layer
    float_model: nn.Layer
    model: nn.Layer
    title: str
    placement: str = ""
    prefix: str = ""
    float_prefix: str = ""
    rows: Mapping[str, Row] = field(default_factory=dict)
    ledger: Ledger | None = None
    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    calibrated: dict[str, Any] | None = None
    check: list[dict[str, Any]] = field(default_factory=list)
    recovery: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def source_of(quantized: Any, float_model: Any) -> Source:
    """The source of what the user gave.

    Args:
        quantized: a `QuantizeResult`, a converted model, or the prefix of a saved one.
        float_model: the float model: a layer, or for a prefix the path of a saved program; ``None`` where the first tells it.

    Raises:
        ConfigError: it is none of these.
        ModelError: the float model is not known.
        ArtifactError: a file is missing, or of another kind; ``MismatchError``: the files are of different nets.
    """
    if isinstance(quantized, QuantizeResult):
        return _of_result(quantized, _layer(float_model))
    if isinstance(quantized, nn.Layer):
        return _of_model(quantized, _layer(float_model))
    if isinstance(quantized, (str, os.PathLike)):
        if not isinstance(float_model, (str, os.PathLike)):
            raise ConfigError("the report of a saved model needs float_model=, the path of the saved program that it was made of")
        return _of_files(os.fspath(quantized), os.fspath(float_model))
    raise ConfigError(f"report needs what quantize_model returned, a converted model, or a prefix, got {type(quantized).__name__}")


def _layer(value: Any) -> nn.Layer | None:
    if value is not None and not isinstance(value, nn.Layer):
        raise ConfigError(f"float_model must be the float model as a layer, got {value!r}")
    return value


def _of_result(result: QuantizeResult, float_model: nn.Layer | None) -> Source:
    source = _of_model(result.model, float_model, result.report.coverage)
    report = result.report.to_dict()
    calibrated = {**report["calibrated"], "fingerprint": (source.calibrated or {}).get("fingerprint", "")}
    source.title, source.placement, source.calibrated = result.report.source, result.report.placement, calibrated
    source.check = report["check"]["findings"]
    rungs = (report.get("recovery") or {}).get("rungs", [])
    source.recovery = [
        {"name": str(rung["step"]), **{name: rung[name] for name in ("before", "after", "kept", "seconds")}} for rung in rungs
    ]
    source.notes += [str(note) for note in report.get("notes", ())]
    return source


def _of_model(model: nn.Layer, float_model: nn.Layer | None, ledger: Ledger | None = None) -> Source:
    state = state_of(model)
    if state is None or state.converted is None:
        raise ModelError("a report needs a converted model, what ImperativePTQ.convert or quantize_model returned")
    found = coverage(model) if ledger is None else ledger
    samples = [sample.arrays for sample in state.seen.samples]
    calibrated = {"samples": 0, "batches": state.seen.batches, "fingerprint": digest(samples) if samples else ""}
    floats = float_of(model, float_model)
    subject = TwinSubject(model, floats)
    source = Source(subject, model, floats, model, type(model).__name__, state.config.placement, ledger=found, calibrated=calibrated)
    source.rows = {row.site: row for row in found.rows}
    _add_graph(source, model, found.rows)
    return source


def _add_graph(source: Source, model: nn.Layer, rows: Sequence[Row]) -> None:
    try:
        sites, source.edges = flow(model)
    except TraceError as error:
        source.notes.append(f"the network is not drawn: {last_line(error)}")
        return
    except Exception as error:  # whatever is odd about the user's model, the rest of the report is of use
        source.notes.append(f"the network is not drawn ({type(error).__name__}: {last_line(error)})")
        return
    by_site = {row.site: row for row in rows}
    source.nodes = [_node(site, by_site.get(site)) for site in sites]


def _node(site: str, row: Row | None) -> dict[str, Any]:
    state, op, macs = ("float", "", 0) if row is None else (row.state, row.op, row.macs)
    return {"site": site, "op": op, "block": site.rpartition(".")[0], "state": state, "macs": macs}


def _of_files(prefix: str, float_prefix: str) -> Source:
    floats, int8 = open_saved(float_prefix), open_saved(prefix)
    float_program, program = _program(floats), _program(int8)
    subject = ProgramSubject(float_program, program, int8.channel_factors)
    source = Source(subject, float_program, float_program, program, Path(prefix).name, prefix=prefix, float_prefix=float_prefix)
    if os.path.exists(prefix + LEDGER_SUFFIX):
        source.ledger = Ledger.from_json(prefix + LEDGER_SUFFIX)
        rows = [row for row in source.ledger.rows if row.macs]
        if len(rows) == len(subject.facts):
            source.rows = dict(zip(subject.facts, rows, strict=True))
        else:
            source.notes.append(f"the coverage lists {len(rows)} compute operations, the program has {len(subject.facts)}")
    plain = coverage(float_program, float_program.input_spec)
    _add_program_graph(source, float_program, plain)
    return source


def _add_program_graph(source: Source, program: Program, plain: Ledger) -> None:
    """The float program's network, its compute operations under the names of the layers, their states from the quantized model."""
    try:
        sites, source.edges = flow(program, program.input_spec)
    except Exception as error:  # as above
        source.notes.append(f"the network is not drawn ({type(error).__name__}: {last_line(error)})")
        return
    by_site = {row.site: row for row in plain.rows}
    compute = [site for site in sites if site in by_site and by_site[site].macs]
    names = dict(zip(compute, source.rows, strict=True)) if len(compute) == len(source.rows) else {}
    for site in sites:
        row = source.rows[names[site]] if site in names else by_site.get(site)
        source.nodes.append({**_node(site, row), "site": names.get(site, site)})


def _program(model: SavedModel) -> Program:
    if model.program is None:
        raise ConfigError(f"{model.path} ({model.kind}) cannot be opened as layers; give the prefix of the portable program")
    return model.program
