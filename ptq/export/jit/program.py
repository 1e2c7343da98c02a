"""Writes and reads Paddle's portable format (PIR): ``.json`` and ``.pdiparams``."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, ExportError

from ...util.messages import last_line
from ..manifest import read_manifest, verify_files

__all__ = ["SUFFIXES", "load", "write_jit"]

SUFFIXES = (".json", ".pdiparams")


def write_jit(model: nn.Layer, prefix: str, input_spec: Sequence[Any], **config: Any) -> None:
    """Writes ``prefix.json`` and ``prefix.pdiparams`` with `paddle.jit.save`.

    Raises:
        ArtifactError: the files cannot be written.
        ExportError: the model cannot be turned into a program.
    """
    try:
        paddle.jit.save(model, prefix, input_spec=list(input_spec), **config)
    except OSError as error:
        raise ArtifactError(f"{prefix}: the model cannot be written: {error}") from error
    except Exception as error:  # tracing runs the user's code: anything may come out of it
        advice = _advice(model, error)
        raise ExportError(f"{type(model).__name__} cannot be saved ({type(error).__name__}: {last_line(error)}); {advice}") from error
    missing = [suffix for suffix in SUFFIXES if not os.path.isfile(prefix + suffix)]
    if missing:
        raise ExportError(f"Paddle wrote no {' and '.join(missing)} for {type(model).__name__}; is FLAGS_enable_pir_api off?")


def _advice(model: nn.Layer, error: Exception) -> str:
    if isinstance(error, KeyError):
        return "register tensors that it keeps in plain lists or dicts with register_buffer"
    if "self" not in inspect.signature(type(model).forward).parameters:
        return "name the first parameter of its forward 'self': Paddle's tracer looks for that name"
    return "check input_spec"


def _link(source: str, target: str) -> None:
    try:
        os.symlink(source, target)
    except OSError:  # not every file system, and not every user of Windows, can
        shutil.copyfile(source, target)


def load(path: str | os.PathLike[str]) -> nn.Layer:
    """Loads a model saved by `save_quantized_model`, after checking that its files belong together.

    Paddle itself loads any pair of program and parameters, and answers with the wrong weights when they do not match.

    Args:
        path: the prefix that the model was saved under.

    Raises:
        ArtifactError: there is no such artifact.
        CorruptArtifactError: a file is missing, cut short, or not the one that was saved.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError(f"path must be the prefix that the model was saved under, got {path!r}")
    path = os.fspath(path)
    manifest = read_manifest(path)
    unlisted = [suffix for suffix in SUFFIXES if suffix not in manifest["files"]]
    if unlisted:
        raise CorruptArtifactError(f"{path}: the manifest does not list {' and '.join(unlisted)}; save the model again")
    verify_files(path, manifest, SUFFIXES)
    try:
        with tempfile.TemporaryDirectory(prefix="ptq-load-") as folder:
            # Paddle takes files of other models whose names begin with this one's for methods of it
            prefix = os.path.join(folder, "model")
            for suffix in SUFFIXES:
                _link(os.path.abspath(path) + suffix, prefix + suffix)
            return paddle.jit.load(prefix)
    except (ValueError, RuntimeError, KeyError) as error:
        raise CorruptArtifactError(f"{path} cannot be loaded ({type(error).__name__}: {last_line(error)}); save the model again") from error
