"""A save in several formats that fails in any of them: the older files, baseline included, stay as they were, nothing else stays."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, converted, data
from paddle import nn

from ptq import ImperativePTQ
from ptq.export.baseline import baseline_path
from ptq.export.formats import FORMATS
from ptq.util.extras import MissingExtraError
from quantizers.errors import ArtifactError, ExportError, MismatchError, QuantizationError

ALL = ("jit", *FORMATS)
STAGES = [(name, step) for name in FORMATS for step in ("write", "check")]
ERRORS = [
    (ExportError("the format lacks it"), ExportError),
    (MismatchError("another answer"), MismatchError),
    (MissingExtraError("onnx is not installed"), MissingExtraError),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ArtifactError),
    (KeyboardInterrupt(), KeyboardInterrupt),
]


def model(seed: int) -> nn.Layer:
    paddle.seed(seed)
    return converted(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), data(8, 4))


def stand_ins(patch: pytest.MonkeyPatch) -> None:
    """Formats whose files hold the name of their prefix and are checked by nobody: these tests are about what is left of them."""
    patch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    for name, made in FORMATS.items():

        def write(prefix: str, _names: Any, _metadata: Any, suffixes: tuple[str, ...] = made.suffixes) -> None:
            for suffix in suffixes:
                Path(prefix + suffix).write_text(f"{prefix}{suffix}", encoding="utf-8")

        patch.setitem(FORMATS, name, replace(made, write=write, check=lambda *_: []))


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins(monkeypatch)


@pytest.fixture(scope="module")
def older_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An older save in every format, with its baseline, and a file of the user's."""
    folder = tmp_path_factory.mktemp("older")
    with pytest.MonkeyPatch.context() as patch:
        stand_ins(patch)
        ImperativePTQ().save_quantized_model(model(9), str(folder / "net"), formats=ALL, float_baseline=True, verbose=False)
    (folder / "of the user").write_text("kept", encoding="utf-8")
    return folder


@pytest.fixture
def older(older_files: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it; when the test is over, all is as it was."""
    folder = tmp_path / "older"
    shutil.copytree(older_files, folder)
    yield folder
    assert contents(folder) == contents(older_files)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def failing_at(name: str, step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> list[str]:
    """Lets a step of a format fail, at its first call or ``after`` so many; the list gets the prefix of every call."""
    made, calls = FORMATS[name], []
    own = getattr(made, step)

    def call(prefix: str, *rest: Any) -> Any:
        calls.append(prefix)
        if len(calls) > after:
            raise error
        return own(prefix, *rest)

    monkeypatch.setitem(FORMATS, name, replace(made, **{step: call}))
    return calls


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("name", "step"), STAGES)
@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "")
def test_every_step_of_every_format(
    name: str, step: str, error: BaseException, expected: type[BaseException], older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = failing_at(name, step, error, monkeypatch)
    quantized = model(0)
    with pytest.raises(expected):
        ImperativePTQ().save_quantized_model(quantized, str(older / "net"), formats=ALL)
    assert len(calls) == 1


@pytest.mark.usefixtures("cheap")
def test_into_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_at("inference", "check", MismatchError("another answer"), monkeypatch)
    with pytest.raises(MismatchError):
        ImperativePTQ().save_quantized_model(model(0), str(tmp_path / "net"), formats=ALL)
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_lacks_an_operation(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real, after another format has been written."""
    real = FORMATS["inference"]
    stand_ins(monkeypatch)
    monkeypatch.setitem(FORMATS, "inference", real)
    angular = Net(lambda m, x: paddle.linalg.svd(m.fc(x))[1], fc=nn.Linear(4, 4))
    with pytest.raises(ExportError, match="svd"):
        ImperativePTQ().save_quantized_model(converted(angular, data(8, 4)), str(older / "net"), formats=ALL)


@pytest.mark.usefixtures("cheap")
def test_the_baseline_fails(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing_at("onnx", "check", MismatchError("another answer"), monkeypatch)
    quantized = model(0)
    x = data(3, 4)
    before = quantized(x).numpy()
    with pytest.raises(MismatchError):
        ImperativePTQ().save_quantized_model(quantized, str(older / "net"), formats=ALL, float_baseline=True)
    assert [Path(call).name for call in calls] == ["float_net"]
    np.testing.assert_array_equal(quantized(x).numpy(), before)  # its twins are back


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("error", [MismatchError("another answer"), KeyboardInterrupt()])
def test_the_baseline_is_not_replaced_when_the_model_behind_it_fails(
    error: BaseException, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the older quantized model would lie beside another model's baseline, and `bench` would compare the two."""
    calls = failing_at("onnx", "check", error, monkeypatch, after=1)
    with pytest.raises(type(error)):
        ImperativePTQ().save_quantized_model(model(0), str(older / "net"), formats=ALL, float_baseline=True)
    assert [Path(call).name for call in calls] == ["float_net", "net"]


@pytest.mark.usefixtures("cheap")
def test_a_model_that_fails_leaves_no_baseline_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_at("onnx", "check", MismatchError("another answer"), monkeypatch, after=1)
    with pytest.raises(QuantizationError):
        ImperativePTQ().save_quantized_model(model(0), str(tmp_path / "net"), formats=ALL, float_baseline=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cheap")
def test_fewer_formats_remove_the_files_of_the_others(older_files: Path, tmp_path: Path) -> None:
    """A save that succeeds: nobody could tell the older ONNX file from one of the new model."""
    folder = tmp_path / "older"
    shutil.copytree(older_files, folder)
    ImperativePTQ().save_quantized_model(model(0), str(folder / "net"), verbose=False)
    found = {path.name for path in folder.iterdir() if path.name.startswith("net.")}
    assert found == {"net.json", "net.pdiparams", "net.ptq.coverage.json", "net.ptq.json"}
    assert Path(f"{baseline_path(folder / 'net')}.onnx").is_file()
