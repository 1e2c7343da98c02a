"""Saves a model in the formats asked for: written under temporary names, checked in fresh processes, then renamed, the manifest last."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, MismatchError

from ..calibration.state import state_of
from ..layers import QuantizedActivation
from ..registry import PTQRegistry
from ..reports.coverage import Ledger
from ..util.modes import eval_mode
from ..util.progress import progress
from .call import answer_of, call_of, output_positions, sample_note, tensors_of
from .check import check_artifact
from .formats import ALL_SUFFIXES, JIT, Format, formats_named
from .jit.program import SUFFIXES, write_jit
from .manifest import MANIFEST_SUFFIX, read_manifest, write_manifest
from .metadata import Metadata, checked_metadata
from .mismatch import RAISE, checked_choice, settle
from .onnx.write import parameter_names
from .report import RuntimeReport

__all__ = ["LEDGER_SUFFIX", "SaveReport", "Staged", "save_artifact", "staged_artifact"]

# Two words between the dots: `paddle.jit.load` takes files with one for the program of a method.
LEDGER_SUFFIX = ".ptq.coverage.json"


@dataclass(frozen=True)
class SaveReport:
    """What was written: the path prefix, the bytes of each file, the difference found in the portable format, and the runtimes' reports.

    ``mismatch``: why the portable format failed its check and was kept all the same; empty where it passed.
    """

    path: str
    bytes: dict[str, int]
    difference: float
    runtimes: tuple[RuntimeReport, ...] = ()
    ledger: Ledger | None = None
    note: str = ""
    mismatch: str = ""

    def lines(self) -> list[str]:
        """The report for people."""
        sizes = ", ".join(f"{suffix} {size / 1e6:.2f} MB" for suffix, size in self.bytes.items())
        portable = f"Paddle, portable: differs by {self.difference:.1e} of the largest output from the model in memory"
        if self.mismatch:
            portable = f"Paddle, portable: THE CHECK FAILED: {self.mismatch}"
        coverage = [] if self.ledger is None else self.ledger.lines()
        notes = [self.note] if self.note else []
        return [f"{self.path}: {sizes}", portable, *notes, *(line for runtime in self.runtimes for line in runtime.lines()), *coverage]


def save_artifact(
    model: nn.Layer,
    path: str,
    input_spec: Sequence[Any] | None,
    formats: Sequence[str] = (JIT,),
    ledger: Ledger | None = None,
    on_mismatch: str = RAISE,
    metadata: Metadata | None = None,
    **config: Any,
) -> SaveReport:
    """Writes the files of the formats, the coverage ledger where there is one, and the manifest ``path.ptq.json``.

    See `ImperativePTQ.save_quantized_model`.
    """
    with staged_artifact(model, path, input_spec, formats, ledger, on_mismatch, metadata, **config) as staged:
        staged.publish()
    return staged.report


@dataclass(frozen=True)
class Staged:
    """Files that are written and checked under temporary names: their prefix, and the prefix that they are to get."""

    report: SaveReport
    prefix: str
    target: str

    def publish(self) -> None:
        """Renames the files into place."""
        with _named_errors(self.report.path):
            _publish(self.prefix, self.target, self.report.bytes)


@contextlib.contextmanager
def staged_artifact(
    model: nn.Layer,
    path: str,
    input_spec: Sequence[Any] | None,
    formats: Sequence[str] = (JIT,),
    ledger: Ledger | None = None,
    on_mismatch: str = RAISE,
    metadata: Metadata | None = None,
    **config: Any,
) -> Iterator[Staged]:
    """The same up to the renames, so that what belongs together replaces an older save only when all of it has passed its checks.

    When the block ends, what was not published is gone.
    """
    chosen = formats_named(formats)
    checked_choice(on_mismatch)
    texts = checked_metadata(metadata, chosen)
    folder, name = _checked_path(path)
    spec, arguments = call_of(model, input_spec)
    with contextlib.ExitStack() as stack:
        with _named_errors(path):
            prefix = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder)), name)
            with eval_mode(model), paddle.no_grad():
                expected = answer_of(model, arguments)
                kept = output_positions(config.pop("output_spec", None), expected)
                if kept is not None:
                    config["output_spec"], expected = kept, [expected[position] for position in kept]
                write_jit(model, prefix, spec, **config)
                report = _write_and_check(model, path, prefix, chosen, tensors_of(arguments), expected, on_mismatch, texts)
                report = replace(report, ledger=ledger, note=sample_note(model))
            if ledger is not None:
                ledger.to_json(prefix + LEDGER_SUFFIX)
                report.bytes[LEDGER_SUFFIX] = os.path.getsize(prefix + LEDGER_SUFFIX)
            files = {suffix: Path(prefix + suffix) for suffix in report.bytes}
            write_manifest(Path(prefix + MANIFEST_SUFFIX), files, _facts(model, spec, report))
        yield Staged(report, prefix, os.path.join(folder, name))


@contextlib.contextmanager
def _named_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"{path}: the model cannot be written: {error}") from error


def _write_and_check(
    model: nn.Layer,
    path: str,
    prefix: str,
    formats: dict[str, Format | None],
    inputs: list[paddle.Tensor],
    expected: list[paddle.Tensor],
    on_mismatch: str,
    metadata: Mapping[str, str],
) -> SaveReport:
    """Makes every format from the portable files at ``prefix``, each checked against the model's answers."""
    mismatch, difference = "", float("inf")
    try:
        difference = check_artifact(prefix, inputs, expected)
    except MismatchError as error:
        mismatch = str(error)
    settle(mismatch, on_mismatch)
    arrays, answers, names = [x.numpy() for x in inputs], [y.numpy() for y in expected], parameter_names(model)
    suffixes: list[str] = []
    runtimes: list[RuntimeReport] = []
    for _, made in progress(formats.items(), description=f"saving {os.path.basename(path)}"):
        suffixes += SUFFIXES if made is None else made.suffixes
        if made is not None:
            made.write(prefix, names, metadata)
            runtimes += made.check(prefix, arrays, answers, names, on_mismatch)
    sizes = {suffix: os.path.getsize(prefix + suffix) for suffix in suffixes}
    return SaveReport(path, sizes, difference, tuple(runtimes), mismatch=mismatch)


def _checked_path(path: str) -> tuple[str, str]:
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError(f"path must be a prefix such as 'int8/model', got {path!r}")
    if "\0" in os.fspath(path):
        raise ArtifactError(f"{path!r} cannot be written: embedded null byte")
    is_prefix = os.path.basename(os.fspath(path)) not in ("", ".", "..")
    folder, name = os.path.split(os.path.abspath(os.fspath(path))) if is_prefix else ("", "")
    if not name:
        raise ArtifactError(f"{path!r} names a folder; pass a prefix such as 'int8/model'")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{path}: its folder cannot be made: {error}") from error
    for suffix in (*ALL_SUFFIXES, LEDGER_SUFFIX, MANIFEST_SUFFIX):
        if os.path.isdir(os.path.join(folder, name + suffix)):
            raise ArtifactError(f"{path}{suffix} is a folder; remove it or choose another path")
    return folder, name


def _publish(prefix: str, target: str, suffixes: Iterable[str]) -> None:
    """Renames the files into place, the manifest last, so that a mixture of two saves never matches a manifest.

    Then removes files of an older save that the new one does not have: nobody could tell that they are another model's.
    """
    written = [*suffixes, MANIFEST_SUFFIX]
    older = _listed(target)
    for suffix in written:
        with open(prefix + suffix, "rb") as file:
            os.fsync(file.fileno())
    for suffix in written:
        os.replace(prefix + suffix, target + suffix)
    for suffix in older:
        if suffix not in written:
            with contextlib.suppress(FileNotFoundError):
                os.remove(target + suffix)


def _listed(target: str) -> list[str]:
    """Suffixes of this project's files that the manifest of an older save lists."""
    with contextlib.suppress(ArtifactError, CorruptArtifactError):
        return [suffix for suffix in read_manifest(target)["files"] if suffix in (*ALL_SUFFIXES, LEDGER_SUFFIX)]
    return []


def _facts(model: nn.Layer, spec: Sequence[Any], report: SaveReport) -> dict[str, Any]:
    layers = [layer for layer in model.sublayers(include_self=True) if PTQRegistry.is_quantized_layer(layer)]
    shapes = [
        {"shape": list(item.shape), "dtype": str(item.dtype)} for item in paddle.utils.flatten(list(spec)) if isinstance(item, InputSpec)
    ]
    return {
        "quantized_layers": sum(not isinstance(layer, QuantizedActivation) for layer in layers),
        "inputs": shapes,
        "paddle": paddle.__version__,
        "mismatch": report.mismatch,
        "runtimes": [asdict(runtime) | {"sqnr_db": str(runtime.sqnr_db)} for runtime in report.runtimes],
        **_settings(model),
    }


def _settings(model: nn.Layer) -> dict[str, Any]:
    """The config that the model was quantized with, where JSON can hold it, for `ptq tune`."""
    state = state_of(model)
    if state is None:
        return {}
    try:
        settings = state.config.to_dict()
    except ConfigError:  # a quantizer or a class of the user's that is registered under no name
        return {}
    return {"config": settings if state.target == "any" else {**settings, "target": state.target}}
