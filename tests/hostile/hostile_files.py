"""Calibration files, configs and ledgers that are cut, damaged, another program's, or harmful."""

from __future__ import annotations

import gzip
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile_case import Act, Case, Scene
from models import Net
from paddle import nn

import ptq
from ptq import Calibration, Ledger, PTQConfig
from ptq.calibration.file import Contents, Progress, to_bytes
from quantizers.errors import ArtifactError, CalibrationError, ConfigError, CorruptArtifactError

__all__ = ["CASES"]

Spoil = Callable[[bytes], bytes]


class Harmful:
    """Makes a file when it is unpickled, which the case would see."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("harm"),)


def archive_of_objects(_: bytes) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.array([Harmful()], dtype=object))
    return stream.getvalue()


def archive_of_numbers(_: bytes) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


def flipped(at: float) -> Spoil:
    def spoil(content: bytes) -> bytes:
        position = int(at * len(content))
        return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]

    return spoil


def replaced(old: bytes, new: bytes) -> Spoil:
    def spoil(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return spoil


DAMAGES: dict[str, Spoil] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "without its last bytes": lambda content: content[:-3],
    "empty": lambda _: b"",
    "a pickle": lambda _: pickle.dumps(Harmful()),
    "packed by gzip": gzip.compress,
    "random bytes": lambda _: np.random.default_rng(0).bytes(500),
    "text": lambda _: "Kalibrierung für später\n".encode("latin-1"),
    "zeros of the same size": lambda content: bytes(len(content)),
}


def made(scene: Scene, kind: str) -> bytes:
    """The content of a sound file."""
    if kind == "config":
        PTQConfig(overrides={"0": None}).to_json("sound")
    elif kind == "ledger":
        ptq.coverage(scene.converted()).to_json("sound")
    else:
        Calibration.of(scene.seen()).save("sound")
    content = Path("sound").read_bytes()
    Path("sound").unlink()
    return content


LOADERS: dict[str, Callable[[str], Any]] = {"calibration": Calibration.load, "config": PTQConfig.from_json, "ledger": Ledger.from_json}


def damaged(kind: str, name: str, spoil: Spoil, expected: type[BaseException] = CorruptArtifactError, says: str = "") -> Case:
    def prepare(scene: Scene) -> Act:
        scene.write("spoilt", spoil(made(scene, kind)))
        return lambda: LOADERS[kind]("spoilt")

    return Case("file", f"{kind}: {name}", expected, rf"^spoilt.*{says}", prepare)


def unfinished(content: bytes) -> bytes:
    found = ptq.calibration.file.from_bytes(content, "")
    return to_bytes(Contents(found.layers, found.input_spec, Progress("0" * 16, ("1" * 16, "2" * 16))))


def newer(content: bytes) -> bytes:
    return json.dumps({**json.loads(content), "version": 99}).encode()


def applying(scene: Scene, other: nn.Layer) -> Act:
    found = Calibration.of(scene.seen())
    prepared = scene.watch(scene.prepared(other))
    return lambda: found.apply(prepared)


def deeper(scene: Scene) -> Act:
    """The same names, another class in one place."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2))
    model.eval()
    return applying(scene, model)


def other_model(scene: Scene) -> Act:
    model = Net(lambda m, x: m.fc(x), fc=nn.Linear(4, 4))
    model.eval()
    return applying(scene, model)


def resuming(scene: Scene) -> Act:
    scene.write("state", made(scene, "calibration")[:-9])
    model = scene.watch(scene.prepared())
    return lambda: ptq.calibrate(model, [], progress=False, resume="state")


CASES = [
    *(damaged(kind, name, spoil) for kind in LOADERS for name, spoil in DAMAGES.items()),
    damaged("calibration", "one bit of the header", flipped(0.1)),
    damaged("calibration", "one bit of a histogram", flipped(0.6)),
    damaged("calibration", "an archive of objects", archive_of_objects, ArtifactError, "not a calibration"),
    damaged("calibration", "an archive of other numbers", archive_of_numbers, ArtifactError, "not a calibration"),
    damaged("calibration", "JSON", lambda _: b'{"format": "ptq-calibration"}'),
    damaged("calibration", "interrupted", unfinished, CalibrationError, "interrupted after 2 batches"),
    damaged("config", "another bracket", replaced(b"[", b"{")),
    damaged("config", "another quantizer", replaced(b"KLQuantizer", b"OSQuantizer"), ConfigError, "OSQuantizer"),
    damaged("config", "NaN", replaced(b"2048", b"NaN"), says="NaN"),
    damaged("config", "a name twice", replaced(b'"placement"', b'"version"'), says="twice"),
    damaged("config", "a newer version", newer, ConfigError, "version 99.*upgrade"),
    damaged("config", "another program's", lambda _: b'{"bits": 8}', ConfigError, "not a config"),
    damaged("config", "a list", lambda _: b"[]", ConfigError, "not a config"),
    damaged("config", "brackets without end", lambda _: b"[" * 100_000),
    damaged("config", "a number without end", lambda _: b"9" * 10_000),
    damaged("ledger", "a newer version", newer, says="version"),
    damaged("ledger", "another program's", lambda _: b'{"rows": []}'),
    damaged("ledger", "a row of another state", replaced(b'"state": "int8"', b'"state": "int4"'), says="row"),
    Case("file", "calibration: of another model", CalibrationError, "layer '0'.*not observed in the model", other_model),
    Case("file", "calibration: of another class", CalibrationError, "layer '1' is a ReLU.*a Sigmoid", deeper),
    Case("file", "calibration: a damaged checkpoint", CorruptArtifactError, "^state", resuming),
]
