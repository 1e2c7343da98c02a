"""When saving fails: a named error, the older artifact as it was, no temporary files, the model as it was."""

from __future__ import annotations

import errno
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from fresh import run_python, script
from models import Net, absmax, calibrated, converted, data, relative
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import ImperativePTQ
from quantizers.errors import ArtifactError, CorruptArtifactError, ExportError, MismatchError

SPEC = [InputSpec([None, 4], "float32")]


def _model(seed: int = 0) -> nn.Layer:
    paddle.seed(seed)
    return converted(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), data(8, 4))


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A folder with an older artifact under ``model``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
        ImperativePTQ().save_quantized_model(_model(seed=9), str(tmp_path / "model"))
    return tmp_path


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _fails(folder: Path, error: type[Exception], match: str, model: nn.Layer | None = None, **options: Any) -> None:
    """Saving under ``folder/model`` fails as said and leaves the folder and the model as they were."""
    model = _model() if model is None else model
    before, names = _contents(folder), sorted(os.listdir(folder))
    modes = [layer.training for layer in model.sublayers(include_self=True)]
    with pytest.raises(error, match=match):
        ImperativePTQ().save_quantized_model(model, str(folder / "model"), **options)
    assert _contents(folder) == before
    assert sorted(os.listdir(folder)) == names
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes


# paths


@pytest.mark.parametrize("path", ["", "folder/", ".", "..", "folder/.", "folder/.."])
def test_a_folder_is_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    before = _contents(tmp_path)
    with pytest.raises(ArtifactError, match="prefix"):
        ImperativePTQ().save_quantized_model(_model(), path)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("suffix", [".json", ".pdiparams", ".ptq.json"])
def test_a_folder_in_place_of_a_file(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model{suffix}").mkdir()
    _fails(tmp_path, ArtifactError, "is a folder")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "parent").write_text("a file", encoding="utf-8")
    for path in ("parent/model", "parent/deep/model"):
        with pytest.raises(ArtifactError, match="folder cannot be made"):
            ImperativePTQ().save_quantized_model(_model(), str(tmp_path / path))
    assert (tmp_path / "parent").read_text(encoding="utf-8") == "a file"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        ImperativePTQ().save_quantized_model(_model(), str(tmp_path / ("n" * 300)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(ArtifactError, match="cannot be written"):
        ImperativePTQ().save_quantized_model(_model(), str(folder / "model"))


# injected errors


def _failing(function: Callable[..., Any], when: Callable[..., bool], code: int = errno.ENOSPC) -> Callable[..., Any]:
    """``function``, which raises `OSError` where ``when`` says so."""

    def replacement(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            raise OSError(code, os.strerror(code))
        return function(*args, **kwargs)

    return replacement


@pytest.mark.parametrize("suffix", [".json", ".pdiparams", ".ptq.json"])
def test_full_disk_when_the_files_are_flushed(older: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    monkeypatch.setattr(os, "fsync", _failing(os.fsync, lambda fd: os.readlink(f"/proc/self/fd/{fd}").endswith(f"model{suffix}")))
    _fails(older, ArtifactError, "No space left")


def test_full_disk_when_the_manifest_is_written(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    monkeypatch.setattr(Path, "write_text", _failing(Path.write_text, lambda path, *_: path.name.endswith(".ptq.json")))
    _fails(older, ArtifactError, "No space left")


def test_full_disk_when_paddle_saves(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle.jit, "save", _failing(paddle.jit.save, lambda *_: True))
    _fails(older, ArtifactError, "No space left")


def test_rename_refused(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    monkeypatch.setattr(os, "replace", _failing(os.replace, lambda *_: True, errno.EACCES))
    _fails(older, ArtifactError, "Permission denied")


@pytest.mark.parametrize("suffix", [".pdiparams", ".ptq.json"])
def test_a_rename_refused_half_way_is_never_loaded_as_a_mixture(older: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    x = data(2, 4)
    expected = ptq.load(older / "model")(x)
    monkeypatch.setattr(os, "replace", _failing(os.replace, lambda source, *_: str(source).endswith(f"model{suffix}"), errno.EIO))
    with pytest.raises(ArtifactError):
        ImperativePTQ().save_quantized_model(_model(), str(older / "model"))
    monkeypatch.undo()
    try:
        answer = ptq.load(older / "model")(x)
    except CorruptArtifactError:
        pass
    else:
        assert relative(answer, expected) == 0
    assert not [name for name in os.listdir(older) if name.startswith(".")]


def test_the_manifest_comes_last(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    renamed: list[str] = []
    monkeypatch.setattr(os, "replace", _failing(os.replace, lambda _, target: renamed.append(os.path.basename(target)) is not None))
    ImperativePTQ().save_quantized_model(_model(), str(older / "model"))
    assert sorted(set(renamed)) == ["model.json", "model.pdiparams", "model.ptq.coverage.json", "model.ptq.json"]
    assert renamed[-1] == "model.ptq.json"


FULL_DISK = """
import resource, warnings
warnings.simplefilter("ignore")
import numpy, paddle
from ptq import ImperativePTQ, PTQConfig
from quantizers.errors import ArtifactError
engine = ImperativePTQ()
model = engine.quantize(paddle.nn.Sequential(paddle.nn.Linear(64, 64)))
model(paddle.to_tensor(numpy.random.default_rng(0).standard_normal((8, 64)), dtype="float32"))
model = engine.convert(model)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    engine.save_quantized_model(model, sys.argv[1])
except ArtifactError as error:
    print("named:", type(error).__name__, error)
"""


@pytest.mark.parametrize("limit", [0, 1500, 4000])
def test_full_disk_for_real(older: Path, tmp_path_factory: pytest.TempPathFactory, limit: int) -> None:
    """No file may grow beyond the limit: writes fail in Paddle's own C++ code too."""
    before, x = _contents(older), data(2, 4)
    expected = ptq.load(older / "model")(x)
    path = script(tmp_path_factory.mktemp("script"), FULL_DISK)
    process = run_python([str(path), str(older / "model"), str(limit)], cwd=path.parent)
    assert "named:" in process.stdout, process.stderr[-800:]
    assert _contents(older) == before
    assert relative(ptq.load(older / "model")(x), expected) == 0


# models that cannot be saved


def test_a_model_that_cannot_be_traced(older: Path) -> None:
    model = Net(lambda net, x: net.fc(paddle.to_tensor(x.tolist())), fc=nn.Linear(4, 2))
    prepared = ImperativePTQ(absmax()).quantize(model)
    with pytest.warns(UserWarning, match="cannot be traced"):
        prepared(data(8, 4))
    _fails(older, ExportError, "Net cannot be saved", ImperativePTQ().convert(prepared))


class WithTable(nn.Layer):
    """Keeps a tensor where Paddle does not find it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.table = nn.Linear(4, 2), {"bias": paddle.ones([2])}

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.add(self.fc(x), self.table["bias"])


def test_tensors_in_a_plain_dict_are_explained(older: Path) -> None:
    _fails(older, ExportError, "register_buffer", converted(WithTable(), data(8, 4)))


def test_a_model_that_fails_on_the_given_spec(older: Path) -> None:
    _fails(older, ExportError, "check input_spec", input_spec=[InputSpec([None, 5], "float32")])


def test_paddle_writes_nothing(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle.jit, "save", lambda *_, **__: None)
    _fails(older, ExportError, r"wrote no \.json")


# artifacts that do not answer as the model does


class Counting(nn.Layer):
    """Answers with another number at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.calls = nn.Linear(4, 2), 0

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        self.calls += 1
        return self.fc(x) + self.calls


class Random(nn.Layer):
    """Depends on Python's random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc(x) * (1 + random.random())


class NewEveryTime(nn.Layer):
    """Noise from the framework."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc(x) + paddle.rand([1])


@pytest.mark.parametrize("kind", [Counting, Random, NewEveryTime])
def test_a_model_that_depends_on_more_than_its_input(older: Path, kind: type[nn.Layer]) -> None:
    _fails(older, MismatchError, "it was not kept", converted(kind(), data(8, 4)))


def test_a_wrong_artifact_is_not_kept(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Paddle had written other weights."""
    save = paddle.jit.save

    def spoiling(model: nn.Layer, path: str, **options: Any) -> None:
        scale = model[0].weight_scale
        scale.set_value(scale * 1.5)
        save(model, path, **options)
        scale.set_value(scale / 1.5)

    monkeypatch.setattr(paddle.jit, "save", spoiling)
    _fails(older, MismatchError, "differs from the model in memory")


def test_other_shapes_are_a_mismatch(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.export.check.replay", lambda *_: [data(3, 3)])
    _fails(older, MismatchError, "answers with shapes")


@pytest.mark.parametrize("answers", [[], [data(8, 2), data(8, 2)]], ids=["fewer", "more"])
def test_another_number_of_outputs_is_a_mismatch(older: Path, monkeypatch: pytest.MonkeyPatch, answers: list[paddle.Tensor]) -> None:
    monkeypatch.setattr("ptq.export.check.replay", lambda *_: answers)
    _fails(older, MismatchError, "answers with shapes")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_in_the_answer_is_a_mismatch(older: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    monkeypatch.setattr("ptq.export.check.replay", lambda *_: [paddle.full([8, 2], value)])
    _fails(older, MismatchError, "differs")


# the process that checks


def test_a_process_that_dies_is_named(older: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    broken = tmp_path_factory.mktemp("bin") / "python"
    broken.write_text("#!/bin/sh\necho 'no paddle here' >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    _fails(older, ArtifactError, r"exit 3.*no paddle here")


def test_a_missing_interpreter_is_named(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    _fails(older, ArtifactError, r"sys\.executable")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    _fails(older, ArtifactError, "python")


def test_keyboard_interrupt_leaves_nothing_behind(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("ptq.export.save.check_artifact", interrupted)
    before = _contents(older)
    with pytest.raises(KeyboardInterrupt):
        ImperativePTQ().save_quantized_model(_model(), str(older / "model"))
    assert _contents(older) == before
    assert len(os.listdir(older)) == 4


def test_the_model_still_answers_after_a_failure(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = _model(), data(8, 4)
    expected = model(x).numpy()
    monkeypatch.setattr("ptq.export.check.replay", lambda *_: [data(8, 2)])
    _fails(older, MismatchError, "differs", model)
    np.testing.assert_array_equal(model(x).numpy(), expected)
    monkeypatch.undo()
    ImperativePTQ().save_quantized_model(model, str(older / "model"))
    assert relative(ptq.load(older / "model")(x), model(x)) <= 1e-6


def test_a_calibrated_model_whose_saving_fails_is_converted_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Paddle, `save_quantized_model` converts in place; another attempt needs no new calibration."""
    prepared = calibrated(nn.Sequential(nn.Linear(4, 2)), data(8, 4))
    monkeypatch.setattr(os, "replace", _failing(os.replace, lambda *_: True))
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
    with pytest.raises(ArtifactError):
        ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"))
    monkeypatch.undo()
    ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"))
    assert len(os.listdir(tmp_path)) == 4


class Nameless(nn.Layer):
    """Its forward calls itself by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(this, x: paddle.Tensor) -> paddle.Tensor:  # noqa: N805
        return this.fc(x)


def test_a_forward_without_self_is_explained(older: Path) -> None:
    _fails(older, ExportError, "'self'", converted(Nameless(), data(8, 4)))
