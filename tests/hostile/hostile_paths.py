"""Paths that cannot be read or written, and disks that are full: nothing is left half-written."""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fresh import run_python, script
from hostile_case import Act, Case, Scene
from models import data

import ptq
from ptq import Calibration, ImperativePTQ, PTQConfig
from ptq.export import create_int8_predictor, export_inference, export_onnx
from ptq.export.formats import FORMATS
from quantizers import errors
from quantizers.errors import ArtifactError, ConfigError

__all__ = ["CASES"]

Use = Callable[[Scene, Any], Act]


def saving(scene: Scene, path: Any, formats: tuple[str, ...] = ("jit",)) -> Act:
    scene.patch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    for name, made in FORMATS.items():
        scene.patch.setitem(FORMATS, name, replace(made, check=lambda *_: []))
    model = scene.converted()
    return lambda: ImperativePTQ().save_quantized_model(model, path, formats=formats)


def baseline(scene: Scene, path: Any) -> Act:
    model = scene.converted()
    return lambda: ImperativePTQ().save_quantized_model(model, path, float_baseline=True)


def calibration(scene: Scene, path: Any) -> Act:
    return functools.partial(Calibration.of(scene.seen()).save, path)


def ledger(scene: Scene, path: Any) -> Act:
    return functools.partial(ptq.coverage(scene.converted()).to_json, path)


def onnx(scene: Scene, path: Any) -> Act:
    scene.patch.setattr("ptq.export.onnx.export.check_onnx", lambda *_, **__: [])
    model = scene.converted()
    return lambda: export_onnx(model, path)


def inference(scene: Scene, path: Any) -> Act:
    model = scene.converted()
    return lambda: export_inference(model, path)


def resuming(scene: Scene, path: Any) -> Act:
    model = scene.prepared()
    return lambda: ptq.calibrate(model, [data(2, 4)], progress=False, resume=path)


WRITERS: dict[str, Use] = {
    "a model": saving,
    "a calibration": calibration,
    "a config": lambda _, path: lambda: PTQConfig().to_json(path),
    "a ledger": ledger,
    "an ONNX file": onnx,
}
READERS: dict[str, Use] = {
    "a model": lambda _, path: lambda: ptq.load(path),
    "a calibration": lambda _, path: lambda: Calibration.load(path),
    "a config": lambda _, path: lambda: PTQConfig.from_json(path),
    "a ledger": lambda _, path: lambda: ptq.Ledger.from_json(path),
    "a predictor": lambda _, path: lambda: create_int8_predictor(path),
}


def case(name: str, use: Use, path: Any, says: str, expected: type[BaseException] = ArtifactError) -> Case:
    return Case("path", name, expected, says, lambda scene: use(scene, path))


def below_a_file(use: Use) -> Callable[[Scene], Act]:
    def prepare(scene: Scene) -> Act:
        scene.write("file", b"")
        return use(scene, os.path.join("file", "model"))

    return prepare


def onto_a_folder(use: Use, name: str) -> Callable[[Scene], Act]:
    """Something else has the name already, and holds a file of the user's."""

    def prepare(scene: Scene) -> Act:
        (scene.folder / name).mkdir()
        scene.write(f"{name}/of the user", b"1")
        return use(scene, "out")

    return prepare


def failing(use: Use, call: str, path: str) -> Callable[[Scene], Act]:
    """The disk is full when a file is to be flushed or renamed; an older file is there."""

    def prepare(scene: Scene) -> Act:
        use(scene, path)()
        act = use(scene, path)

        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def with_full_disk() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, call, full)
                act()

        return with_full_disk

    return prepare


FULL_DISK = """
import json, os, resource, warnings
warnings.simplefilter("ignore")
import numpy, paddle
import ptq
from ptq import Calibration, ImperativePTQ, PTQConfig
from quantizers.errors import QuantizationError
def prepared():
    model = ImperativePTQ().quantize(paddle.nn.Sequential(paddle.nn.Linear(64, 64)))
    return model.eval() or model
x = paddle.to_tensor(numpy.random.default_rng(0).standard_normal((8, 64)), dtype="float32")
seen, fresh = prepared(), prepared()
seen(x)
found, model = Calibration.of(seen), ImperativePTQ().convert(seen, inplace=False)
ledger = ptq.coverage(model)
cases = {
    "a calibration": lambda: found.save("out.ptqc"),
    "a checkpoint": lambda: ptq.calibrate(fresh, [x], progress=False, resume="state.ptqc"),
    "a config": lambda: PTQConfig().to_json("config.json"),
    "a ledger": lambda: ledger.to_json("ledger.json"),
    "a model": lambda: ImperativePTQ().save_quantized_model(model, "model"),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
happened = {}
for name, act in cases.items():
    before = sorted(os.listdir("."))
    try:
        act()
        happened[name] = ["none", ""]
    except Exception as error:
        happened[name] = [type(error).__name__, str(error)]
    happened[name].append([item for item in os.listdir(".") if item not in before])
print("happened", json.dumps(happened))
"""


@functools.cache
def on_a_full_disk(folder: Path) -> dict[str, Any]:
    """What each writer does in a process whose files may not grow beyond 100 bytes: error, message, what it left behind."""
    (folder / "full disk").mkdir()
    process = run_python([str(script(folder, FULL_DISK))], cwd=folder / "full disk")
    return dict(json.loads(process.stdout.split("happened", 1)[1]))


def full_disk(name: str) -> Case:
    def prepare(scene: Scene) -> Act:
        error, message, left = on_a_full_disk(scene.saved.parent)[name]
        assert left == []

        def again() -> None:
            raise getattr(errors, error)(message)

        return again

    return Case("path", f"a full disk for {name}", ArtifactError, "File too large", prepare)


CASES = [
    *(case(f"'' to write {name}", use, "", "prefix|path", ConfigError) for name, use in WRITERS.items() if name != "a model"),
    case("'' to write a model", saving, "", "folder"),
    *(case(f"a number to write {name}", use, 3, " 3$", ConfigError) for name, use in WRITERS.items()),
    *(case(f"a number to read {name}", use, 3, " 3$", ConfigError) for name, use in READERS.items()),
    *(case(f"'.' to write {name}", use, ".", r"'?\.'?") for name, use in WRITERS.items()),
    *(case(f"a NUL in the path of {name}", use, "a\0b", "null byte|NUL") for name, use in WRITERS.items()),
    *(case(f"an endless name for {name}", use, "n" * 300, "nnn.*too long") for name, use in WRITERS.items()),
    *(case(f"an endless name to read {name}", use, "n" * 300, "nnn.*(too long|no such file)") for name, use in READERS.items()),
    *(case(f"no such file: {name}", use, "nowhere/model", "nowhere/model") for name, use in READERS.items()),
    *(Case("path", f"below a file: write {name}", ArtifactError, "file/model", below_a_file(use)) for name, use in WRITERS.items()),
    *(Case("path", f"below a file: read {name}", ArtifactError, "file/model", below_a_file(use)) for name, use in READERS.items()),
    case("a folder that nobody may make", saving, "/proc/nobody/model", "/proc/nobody/model"),
    case("a folder that nobody may make, for a checkpoint", resuming, "/proc/nobody/state", "/proc/nobody/state"),
    case("a number for a model and its baseline", baseline, 3, " 3$", ConfigError),
    case("a number for the inference files", inference, 3, " 3$", ConfigError),
    Case(
        "path", "a folder where a model's file goes", ArtifactError, r"out\.pdiparams is a folder", onto_a_folder(saving, "out.pdiparams")
    ),
    Case("path", "a folder where a calibration goes", ArtifactError, "out: .*[Dd]irectory", onto_a_folder(calibration, "out")),
    Case("path", "a folder where a config goes", ArtifactError, "out cannot be written", onto_a_folder(WRITERS["a config"], "out")),
    Case("path", "a folder where an ONNX file goes", ArtifactError, r"out\.onnx is a folder", onto_a_folder(onnx, "out.onnx")),
    Case("path", "a folder where a ledger goes", ArtifactError, "out.*directory", onto_a_folder(ledger, "out")),
    *(
        Case("path", f"no space to {call} {name}", ArtifactError, "out.*No space left", failing(WRITERS[name], call, "out"))
        for name in ("a model", "a calibration", "a config")
        for call in ("fsync", "replace")
    ),
    Case("path", "no space to replace an ONNX file", ArtifactError, "out.*No space left", failing(onnx, "replace", "out")),
    *(full_disk(name) for name in ("a calibration", "a checkpoint", "a config", "a ledger", "a model")),
]
