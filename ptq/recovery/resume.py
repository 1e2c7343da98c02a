"""The state of a ladder in a file, so that a killed run goes on after the last finished step."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from quantizers import QParams
from quantizers.errors import ArtifactError, CalibrationError, CorruptArtifactError

from ..calibration.batches import digest
from ..util.whole_file import write_whole
from .recipes import Recipe
from .rung import Rung
from .workbench import Snapshot, Workbench

__all__ = ["Resume"]

META, BIAS = "meta", "bias:"


class Resume:
    """Reads the file of a run where there is one and puts its state on the workbench; writes it anew after every step.

    Attributes:
        rungs: the steps that are done already.
    """

    def __init__(self, bench: Workbench, recipe: Recipe, path: str | os.PathLike[str] | None) -> None:
        self._bench = bench
        self._path = None if path is None else Path(os.fspath(path))
        self._key = "" if path is None else _key(bench, recipe)
        self.rungs: list[Rung] = []
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def write(self, rungs: Sequence[Rung]) -> None:
        """Keeps the workbench's state; raises ``ArtifactError`` where the file cannot be written."""
        if self._path is None:
            return
        state = self._bench.snapshot()
        meta = {
            "key": self._key,
            "rungs": [asdict(rung) for rung in rungs],
            "grids": {name: None if grid is None else grid.to_dict() for name, grid in state.grids.items()},
        }
        arrays: dict[str, Any] = {META: np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)}
        arrays |= {f"{name}:{key}": value.numpy() for name, buffers in state.buffers.items() for key, value in buffers.items()}
        arrays |= {f"{BIAS}{name}": bias for name, bias in state.biases.items()}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        try:
            write_whole(self._path, stream.getvalue())
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{self._path} cannot be written: {error}") from error

    def _read(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            meta = json.loads(arrays.pop(META).tobytes())
            rungs = [Rung(**values) for values in meta["rungs"]]
            grids = {name: None if grid is None else QParams.from_dict(grid) for name, grid in meta["grids"].items()}
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error}") from error
        except Exception as error:  # whatever a damaged file makes of it
            raise CorruptArtifactError(f"{path} is no file of a recipe's run ({type(error).__name__}); remove it to start anew") from error
        if meta.get("key") != self._key:
            raise CalibrationError(f"{path} belongs to another model, other samples or another recipe; remove it, or name another file")
        biases = {name.removeprefix(BIAS): value for name, value in arrays.items() if name.startswith(BIAS)}
        buffers: dict[str, dict[str, paddle.Tensor]] = {}
        for name, value in arrays.items():
            if not name.startswith(BIAS):
                owner, _, key = name.rpartition(":")
                buffers.setdefault(owner, {})[key] = paddle.to_tensor(value)
        self._bench.restore(Snapshot(_tied(buffers, self._bench), grids, biases))
        self.rungs = rungs


def _tied(buffers: dict[str, dict[str, paddle.Tensor]], bench: Workbench) -> dict[str, dict[str, paddle.Tensor]]:
    """What twins share in the workbench they share here too."""
    first: dict[int, paddle.Tensor] = {}
    for name, found in buffers.items():
        for key in found:
            found[key] = first.setdefault(id(bench.twins[name]._buffers[key]), found[key])
    return buffers


def _key(bench: Workbench, recipe: Recipe) -> str:
    found = hashlib.sha256(json.dumps(recipe.to_dict(), sort_keys=True).encode())
    found.update(str(bench.seed).encode())
    for sample in bench.samples:
        found.update(digest(sample.call()).encode())
    for name, twin in bench.twins.items():
        found.update(f"{name} {twin.input_qparams}".encode())
        for key, value in twin._buffers.items():
            found.update(key.encode() + value.numpy().tobytes())
    return found.hexdigest()
