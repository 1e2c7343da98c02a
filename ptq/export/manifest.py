"""The manifest beside a saved model: which files belong together, by checksum.

`paddle.jit.load` takes every ``prefix.<name>.json`` for the program of a method ``<name>``, and fails on what is none.  So the
manifest is also a valid program without operations: Paddle loads it and leaves it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import paddle

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError

from ..util.paddle_private import IrGuard, write_program

__all__ = ["MANIFEST_SUFFIX", "read_manifest", "sha256", "verify_files", "write_manifest"]

MANIFEST_SUFFIX = ".ptq.json"
VERSION = 1


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_manifest(path: Path, files: Mapping[str, Path], facts: Mapping[str, Any]) -> None:
    """Writes a manifest.

    Args:
        path: where to write it.
        files: the artifact's files by the suffix that each will have after the common prefix.
        facts: what else to record, JSON values.
    """
    with IrGuard():
        write_program(paddle.static.Program(), str(path), readable=True)
    program = json.loads(path.read_text(encoding="utf-8"))
    entries = {suffix: {"sha256": sha256(file), "bytes": file.stat().st_size} for suffix, file in files.items()}
    path.write_text(
        json.dumps({**program, "version": VERSION, "files": entries, **facts}, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def read_manifest(prefix: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of the artifact with that path prefix.

    Raises:
        ConfigError: ``prefix`` is no path.
        ArtifactError: there is none, or it is of a newer version.
        CorruptArtifactError: it cannot be read.
    """
    if not isinstance(prefix, (str, os.PathLike)) or "\0" in str(prefix):
        raise ConfigError(f"the path of a saved model must be the prefix that it was saved under, got {prefix!r}")
    path = Path(f"{os.fspath(prefix)}{MANIFEST_SUFFIX}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is missing: this is not a model saved by save_quantized_model (paddle.jit.load reads others, without any check)"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptArtifactError(f"{path} is not valid JSON ({error}); save the model again") from error
    if not (isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) and isinstance(manifest.get("version"), int)):
        raise CorruptArtifactError(f"{path} is not a manifest of this project; save the model again")
    if manifest["version"] > VERSION:
        raise ArtifactError(f"{path} has version {manifest['version']}, this paddle-ptq reads up to {VERSION}: upgrade paddle-ptq")
    return manifest


def verify_files(prefix: str | os.PathLike[str], manifest: Mapping[str, Any], suffixes: Collection[str] | None = None) -> None:
    """Compares the files of an artifact with their checksums, all or those with the given suffixes.

    Raises:
        CorruptArtifactError: a file is missing or differs, so that loading would give the wrong model.
        ArtifactError: a file cannot be read.
    """
    for suffix, entry in manifest["files"].items():
        if suffixes is not None and suffix not in suffixes:
            continue
        path = Path(f"{os.fspath(prefix)}{suffix}")
        try:
            found = sha256(path) if path.is_file() else None
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error}") from error
        if found is None:
            raise CorruptArtifactError(f"{path} is missing, but its manifest lists it; save the model again")
        if not isinstance(entry, dict) or found != entry.get("sha256"):
            raise CorruptArtifactError(
                f"{path} is not the file that was saved with its manifest: it was changed, cut short, or belongs to another model; "
                "save the model again"
            )
