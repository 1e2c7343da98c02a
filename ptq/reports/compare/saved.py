"""Saved models of every kind, opened to be run on arrays: programs, artifacts of this project, ONNX files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, MismatchError, ProgramError

from ...data import Takes
from ...export.jit.program import SUFFIXES, load
from ...export.manifest import MANIFEST_SUFFIX, read_manifest, verify_files
from ...export.save import LEDGER_SUFFIX
from ...programs import Program, load_program
from ...runtimes.onnxruntime import open_session
from ...util.messages import last_line
from ...util.nests import tensors_in
from ..coverage import Ledger

__all__ = ["SavedModel", "open_saved"]

ONNX = ".onnx"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SavedModel:
    """A saved model that answers.

    ``path``: as it was named; ``kind``: for people; ``inputs``: what it takes; ``outputs``: names of its answers, as far as they are
    known; ``program``: the same as a layer, where it can be opened as one.
    """

    path: str
    kind: str
    inputs: list[Takes]
    outputs: list[str]
    program: Program | None
    _run: Callable[[Sequence[Array]], list[Array]]

    @property
    def channel_factors(self) -> Any:
        """What the channels of its layers are multiplied by, see `Ledger.channel_factors`; ``None`` where nothing tells."""
        path = os.path.splitext(self.path)[0] if self.path.endswith(ONNX) else self.path
        return Ledger.from_json(path + LEDGER_SUFFIX).channel_factors if os.path.exists(path + LEDGER_SUFFIX) else None

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Its answers to one array for each input.

        Raises:
            MismatchError: it fails on them.
        """
        if len(arrays) != len(self.inputs):
            raise MismatchError(f"{self.path} takes {len(self.inputs)} inputs, the data has {len(arrays)}")
        try:
            return self._run(arrays)
        except Exception as error:  # a runtime: each has errors of its own
            shapes = ", ".join(f"{array.dtype} {list(array.shape)}" for array in arrays)
            raise MismatchError(f"{self.path} fails on {shapes} ({type(error).__name__}: {last_line(error)})") from error


def open_saved(path: str | os.PathLike[str]) -> SavedModel:
    """Opens a saved program, the portable artifact of this project at a prefix, or an ONNX file.

    Raises:
        ConfigError: ``path`` is no path.
        ArtifactError: there is no such model, or it cannot be opened.
        MissingExtraError: ONNX Runtime is needed and not installed.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ConfigError(f"the path of a saved model is needed, got {path!r}")
    name = os.fspath(path)
    if name.endswith(ONNX):
        return _onnx(name)
    stem = name.removesuffix(".json") if name.endswith(".json") else name
    if os.path.exists(stem + MANIFEST_SUFFIX):
        return _artifact(stem)
    program = _program(name)
    return SavedModel(name, "saved program", _inputs(program), program.output_names, program, _runner(program))


def _program(path: str, fold_scales: bool = True) -> Program:
    layer = load_program(path, fold_scales=fold_scales)
    if not isinstance(layer, Program):
        raise ProgramError(f"{path} was opened as a {type(layer).__name__}, which is no program")
    return layer


def _inputs(program: Program) -> list[Takes]:
    return [Takes.of(spec) for spec in program.input_spec]


def _runner(layer: nn.Layer) -> Callable[[Sequence[Array]], list[Array]]:
    def run(arrays: Sequence[Array]) -> list[Array]:
        with paddle.no_grad():
            return [tensor.numpy() for tensor in tensors_in([layer(*map(paddle.to_tensor, arrays))])]

    return run


def _artifact(prefix: str) -> SavedModel:
    layer = load(prefix)
    layer.eval()
    manifest = read_manifest(prefix)
    try:
        listed = [(item["shape"], str(item["dtype"]).rpartition(".")[2]) for item in manifest["inputs"]]
        inputs = [
            Takes(f"x{n}", tuple(None if s is None or s < 0 else int(s) for s in shape), kind) for n, (shape, kind) in enumerate(listed)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifactError(f"{prefix}{MANIFEST_SUFFIX} does not tell the model's inputs; save the model again") from error
    program = _replayed(prefix)
    kind = "quantized model" if manifest.get("quantized_layers") else "float model of this project"
    return SavedModel(prefix, kind, inputs if program is None else _inputs(program), [], program, _runner(layer))


def _replayed(prefix: str) -> Program | None:
    """The artifact's program as a layer, to look at its layers; ``None`` where it cannot be replayed."""
    with tempfile.TemporaryDirectory(prefix="ptq-compare-") as folder:
        for suffix in SUFFIXES:  # without the manifest, which keeps artifacts from being quantized again
            shutil.copyfile(prefix + suffix, os.path.join(folder, f"model{suffix}"))
        try:
            return _program(os.path.join(folder, "model"), fold_scales=False)
        except ProgramError:
            return None


def _onnx(path: str) -> SavedModel:
    if not os.path.isfile(path):
        raise ArtifactError(f"there is no ONNX file {path}")
    prefix = path.removesuffix(ONNX)
    if Path(prefix + MANIFEST_SUFFIX).is_file():
        manifest = read_manifest(prefix)
        verify_files(prefix, manifest, (ONNX,))
    try:
        session = open_session(path, exact=True)
        inputs = [Takes(item.name, tuple(_size(size) for size in item.shape), _dtype(item.type)) for item in session.get_inputs()]
        outputs = [item.name for item in session.get_outputs()]
    except ImportError:
        raise
    except Exception as error:  # ONNX Runtime has an error class for each of its statuses, and no base of them
        raise ArtifactError(f"{path} cannot be opened by ONNX Runtime ({type(error).__name__}: {last_line(error)})") from error

    def run(arrays: Sequence[Array]) -> list[Array]:
        return [np.asarray(answer) for answer in session.run(None, {item.name: array for item, array in zip(inputs, arrays, strict=True)})]

    return SavedModel(path, "ONNX model", inputs, outputs, None, run)


def _size(size: Any) -> int | None:
    return size if isinstance(size, int) else None


def _dtype(text: str) -> str:
    name = text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)
