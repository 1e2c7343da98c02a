"""Saved models of which one file is cut, changed, missing, or another model's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_case import Act, Case, Scene

import ptq
from ptq.bench.artifact import read_artifact
from ptq.export import create_int8_predictor
from quantizers.errors import ArtifactError, CorruptArtifactError

__all__ = ["CASES"]

Spoil = Callable[[Path, Path], object]


def flip(path: Path, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def put(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


DAMAGES: dict[str, Spoil] = {
    "cut in half": lambda path, _: put(path, path.read_bytes()[: path.stat().st_size // 2]),
    "one bit changed": flip,
    "empty": lambda path, _: put(path, b""),
    "another model's": lambda path, other: shutil.copy(other, path),
    "missing": lambda path, _: path.unlink(),
}
PORTABLE = (".json", ".pdiparams")
INFERENCE = (".infer.pdmodel", ".infer.pdiparams")
OTHERS = (".onnx", ".infer.json", ".ptq.coverage.json")
MANIFEST = ".ptq.json"
OPENERS: dict[str, Callable[[Path], Any]] = {"ptq.load": ptq.load, "a predictor": create_int8_predictor, "ptq bench": read_artifact}


def spoilt(opener: str, suffix: str, damage: str, expected: type[BaseException] = CorruptArtifactError) -> Case:
    def prepare(scene: Scene) -> Act:
        prefix = scene.copy()
        DAMAGES[damage](Path(f"{prefix}{suffix}"), scene.saved / f"b{suffix}")
        return lambda: OPENERS[opener](prefix)

    return Case("artifact", f"{opener}: {suffix} {damage}", expected, r"/a\.", prepare)


def manifest(name: str, change: Callable[[Any], Any], expected: type[BaseException] = CorruptArtifactError, says: str = "") -> Case:
    """A manifest that was tampered with."""

    def prepare(scene: Scene) -> Act:
        prefix = scene.copy()
        path = Path(f"{prefix}{MANIFEST}")
        values = json.loads(path.read_text(encoding="utf-8"))
        changed = change(values)
        path.write_text(json.dumps(values if changed is None else changed), encoding="utf-8")
        return lambda: (ptq.load(prefix), read_artifact(prefix))

    return Case("artifact", f"manifest {name}", expected, rf"/a.*{says}", prepare)


def portable_only(scene: Scene) -> Act:
    prefix = scene.copy()
    for path in scene.folder.glob("a.infer.*"):
        path.unlink()
    Path(f"{prefix}{MANIFEST}").unlink()
    return lambda: create_int8_predictor(prefix)


def swapped_pair(scene: Scene) -> Act:
    """Both files of the portable program are another model's: Paddle would open it without a word."""
    prefix = scene.copy()
    for suffix in (".json", ".pdiparams"):
        shutil.copy(scene.saved / f"b{suffix}", f"{prefix}{suffix}")
    return lambda: ptq.load(prefix)


CASES = [
    *(spoilt("ptq.load", suffix, damage) for suffix in PORTABLE for damage in DAMAGES),
    *(spoilt("a predictor", suffix, damage) for suffix in INFERENCE for damage in DAMAGES),
    *(
        spoilt("ptq bench", suffix, damage)
        for suffix in OTHERS
        for damage in DAMAGES
        if (suffix, damage) != (".infer.json", "another model's")
    ),
    *(spoilt("ptq.load", MANIFEST, damage) for damage in ("cut in half", "empty", "another model's")),
    *(spoilt("a predictor", MANIFEST, damage) for damage in ("cut in half", "another model's", "empty")),
    spoilt("ptq.load", MANIFEST, "missing", ArtifactError),
    manifest("of a newer version", lambda m: m.update(version=99), ArtifactError, "upgrade"),
    manifest("of a version that is text", lambda m: m.update(version="1")),
    manifest("that lists no files", lambda m: m.update(files={})),
    manifest("whose files are a list", lambda m: m.update(files=[])),
    manifest("without one file", lambda m: m["files"].pop(".pdiparams") and None, says="does not list"),
    manifest("with a file that is nowhere", lambda m: m["files"].update({"/../../etc/nothing": {"sha256": "0"}}), says="missing"),
    manifest("with a NUL in a file's name", lambda m: m["files"].update({"\0": {}}), says="missing"),
    manifest("with an endless file's name", lambda m: m["files"].update({"n" * 300: {}}), ArtifactError, "too long"),
    manifest("with a checksum that is a number", lambda m: m["files"].update({".json": {"sha256": 3}})),
    manifest("that is a list", lambda _: [1, 2]),
    Case("artifact", "both portable files another model's", CorruptArtifactError, "belongs to another model", swapped_pair),
    Case("artifact", "a predictor of a portable model", ArtifactError, r"a\.infer\.pdmodel.*formats=\('jit', 'inference'\)", portable_only),
]
