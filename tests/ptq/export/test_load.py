"""`ptq.load` refuses what is not exactly what was saved; Paddle itself loads it and answers wrongly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import paddle
import pytest
from models import calibrated, data, relative
from paddle import nn

import ptq
from ptq import ImperativePTQ
from quantizers.errors import ArtifactError, CorruptArtifactError

SUFFIXES = (".json", ".pdiparams", ".ptq.json")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two saved models of the same shape, ``a`` and ``b``."""
    folder = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)
        for seed, name in enumerate("ab"):
            paddle.seed(seed)
            ImperativePTQ().save_quantized_model(calibrated(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), data(2, 4)), str(folder / name))
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(originals, tmp_path / "copy")
    return tmp_path / "copy"


def test_an_intact_artifact(folder: Path) -> None:
    assert ptq.load(folder / "a")(data(2, 4)).shape == [2, 3]


def test_a_copied_or_renamed_artifact_stays_valid(folder: Path) -> None:
    expected = ptq.load(folder / "a")(data(2, 4))
    for suffix in SUFFIXES:
        (folder / f"a{suffix}").rename(folder / f"renamed{suffix}")
    assert relative(ptq.load(folder / "renamed")(data(2, 4)), expected) == 0


@pytest.mark.parametrize("suffix", [".json", ".pdiparams"])
@pytest.mark.parametrize("position", [0, 0.5, -1])
def test_one_changed_byte(folder: Path, suffix: str, position: float) -> None:
    path = folder / f"a{suffix}"
    content = bytearray(path.read_bytes())
    content[int(position * len(content)) if position >= 0 else -1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="is not the file that was saved"):
        ptq.load(folder / "a")


@pytest.mark.parametrize("suffix", [".json", ".pdiparams"])
@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_file_cut_short(folder: Path, suffix: str, keep: int) -> None:
    path = folder / f"a{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptArtifactError, match="cut short"):
        ptq.load(folder / "a")


@pytest.mark.parametrize("suffix", [".json", ".pdiparams"])
def test_a_missing_file(folder: Path, suffix: str) -> None:
    (folder / f"a{suffix}").unlink()
    with pytest.raises(CorruptArtifactError, match="is missing, but its manifest lists it"):
        ptq.load(folder / "a")


def test_a_mixed_pair_is_refused_where_paddle_answers_with_the_wrong_weights(folder: Path) -> None:
    right = ptq.load(folder / "a")(data(2, 4))
    shutil.copy(folder / "b.pdiparams", folder / "a.pdiparams")
    wrong = paddle.jit.load(str(folder / "a"))(data(2, 4))
    assert relative(wrong, right) > 0.01  # silently
    with pytest.raises(CorruptArtifactError, match="belongs to another model"):
        ptq.load(folder / "a")


def test_a_manifest_of_another_model(folder: Path) -> None:
    shutil.copy(folder / "b.ptq.json", folder / "a.ptq.json")
    with pytest.raises(CorruptArtifactError):
        ptq.load(folder / "a")


@pytest.mark.parametrize("name", ["nothing", "missing/model"])
def test_no_artifact(folder: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="is missing") as raised:
        ptq.load(folder / name)
    assert not isinstance(raised.value, CorruptArtifactError)


def test_a_missing_manifest(folder: Path) -> None:
    (folder / "a.ptq.json").unlink()
    with pytest.raises(ArtifactError, match=r"not a model saved by save_quantized_model"):
        ptq.load(folder / "a")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"3", b"{}", b'{"files": [], "version": 1}', b'{"files": {}}'])
def test_a_spoilt_manifest(folder: Path, content: bytes) -> None:
    (folder / "a.ptq.json").write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="save the model again"):
        ptq.load(folder / "a")


@pytest.mark.parametrize("files", [{".json": 3, ".pdiparams": None}, {".json": {}, ".pdiparams": {}}, {".json": {"sha256": 1}}])
def test_manifest_entries_of_another_kind(folder: Path, files: Any) -> None:
    path = folder / "a.ptq.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "files": files}), encoding="utf-8")
    with pytest.raises(CorruptArtifactError):
        ptq.load(folder / "a")


def test_a_manifest_that_lists_too_little(folder: Path) -> None:
    """Without this a spoilt parameter file would pass."""
    path = folder / "a.ptq.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["files"][".pdiparams"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CorruptArtifactError):
        ptq.load(folder / "a")


def test_a_newer_version(folder: Path) -> None:
    path = folder / "a.ptq.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "version": 99}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="upgrade"):
        ptq.load(folder / "a")


def test_a_folder_in_place_of_the_manifest(folder: Path) -> None:
    (folder / "a.ptq.json").unlink()
    (folder / "a.ptq.json").mkdir()
    with pytest.raises(ArtifactError, match="cannot be read"):
        ptq.load(folder / "a")


def test_a_folder_as_prefix(folder: Path) -> None:
    with pytest.raises(ArtifactError):
        ptq.load(folder)
    with pytest.raises(ArtifactError):
        ptq.load(f"{folder}/")
