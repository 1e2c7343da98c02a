"""`create_int8_predictor`: the right settings, or an error that says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from inference_cases import HandQuantized, exported
from models import data
from paddle import nn

from ptq.export.inference.artifact import INFERENCE_FILES
from ptq.export.inference.predictor import create_int8_predictor
from ptq.export.manifest import write_manifest
from ptq.runtimes import paddle_inference
from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """An exported model and its answer; tests only read it."""
    prefix = tmp_path_factory.mktemp("whole") / "m"
    (expected,) = exported(HandQuantized(77), prefix, data(2, 3, 8, 8))
    return prefix, expected


@pytest.fixture
def artifact(whole: tuple[Path, np.ndarray], tmp_path: Path) -> Path:
    """A copy of it with a manifest."""
    files = {}
    for suffix in (".json", ".pdiparams", *INFERENCE_FILES):
        files[suffix] = Path(f"{tmp_path / 'm'}{suffix}")
        files[suffix].write_bytes(Path(f"{whole[0]}{suffix}").read_bytes())
    write_manifest(tmp_path / "m.ptq.json", files, {})
    return tmp_path / "m"


def _run(predictor: Any, x: paddle.Tensor) -> np.ndarray:
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x.numpy())
    predictor.run()
    return np.asarray(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())


def test_it_answers_as_the_model(artifact: Path, whole: tuple[Path, np.ndarray]) -> None:
    np.testing.assert_allclose(_run(create_int8_predictor(artifact), data(2, 3, 8, 8)), whole[1], atol=1e-4)


def test_answers_of_several_batches_can_be_collected(artifact: Path) -> None:
    predictor = create_int8_predictor(artifact)
    batches = [data(2, 3, 8, 8, seed=seed) for seed in range(3)]
    one_by_one = [predictor.run([x])[0].numpy().copy() for x in batches]
    assert not np.array_equal(one_by_one[0], one_by_one[2]), "the batches do not tell answers apart"
    collected = [predictor.run([x])[0] for x in batches]
    for answer, expected in zip(collected, one_by_one, strict=True):
        np.testing.assert_array_equal(answer.numpy(), expected)
    np.testing.assert_array_equal(_run(predictor, batches[1]), one_by_one[1])  # the handles are as they were


def test_clones_and_handles_are_as_in_paddle(artifact: Path, whole: tuple[Path, np.ndarray]) -> None:
    predictor = create_int8_predictor(artifact)
    assert isinstance(predictor, paddle.inference.Predictor)
    clone = predictor.clone()
    first = clone.run([data(2, 3, 8, 8)])[0]
    clone.run([data(2, 3, 8, 8, seed=1)])
    np.testing.assert_allclose(first.numpy(), whole[1], atol=1e-4)
    np.testing.assert_allclose(_run(clone, data(2, 3, 8, 8)), whole[1], atol=1e-4)


def test_without_a_manifest_too(whole: tuple[Path, np.ndarray]) -> None:
    np.testing.assert_allclose(_run(create_int8_predictor(str(whole[0])), data(2, 3, 8, 8)), whole[1], atol=1e-4)


def test_it_leaves_no_files_behind(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    _run(create_int8_predictor(artifact), data(2, 3, 8, 8))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_is_handed_to_the_runtime(
    whole: tuple[Path, np.ndarray], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, create = [], paddle_inference._Predictor
    monkeypatch.setattr(
        paddle_inference, "_Predictor", lambda config: asked.append(config.cpu_math_library_num_threads()) or create(config)
    )
    create_int8_predictor(whole[0], threads=threads)
    assert asked == [threads]


COMPUTING = """
import sys, numpy as np
from pathlib import Path
from ptq.export.inference.predictor import create_int8_predictor
predictor = create_int8_predictor(sys.argv[1], threads=int(sys.argv[2]))
predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(np.zeros([64, 3, 8, 8], "float32"))
spent = lambda: {task.name: int((task / "schedstat").read_text().split()[0]) for task in Path("/proc/self/task").iterdir()}
predictor.run()
before = spent()
for _ in range(1000):
    predictor.run()
after = spent()
used = [after[name] - before.get(name, 0) for name in after]
print(sum(nanoseconds > max(used) / 20 for nanoseconds in used))
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="needs the times of threads in /proc")
def test_one_thread_is_one(whole: tuple[Path, np.ndarray]) -> None:
    """However busy the machine is, a second one does not begin to compute; that two share the work no busy machine must show."""
    command = [sys.executable, "-c", COMPUTING, str(whole[0]), "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()[-1] == "1"


@pytest.mark.parametrize("suffix", INFERENCE_FILES[:2])
def test_a_changed_file_is_refused(artifact: Path, suffix: str) -> None:
    file = Path(f"{artifact}{suffix}")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=suffix):
        create_int8_predictor(artifact)


@pytest.mark.parametrize("suffix", INFERENCE_FILES[:2])
def test_a_missing_file_is_refused(artifact: Path, suffix: str) -> None:
    Path(f"{artifact}{suffix}").unlink()
    with pytest.raises(CorruptArtifactError, match=suffix):
        create_int8_predictor(artifact)
    Path(f"{artifact}.ptq.json").unlink()
    with pytest.raises(ArtifactError, match=f"{suffix}.*no such file"):
        create_int8_predictor(artifact)


def test_only_portable_files_are_refused(artifact: Path) -> None:
    manifest = json.loads(Path(f"{artifact}.ptq.json").read_text())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if "infer" not in name}
    Path(f"{artifact}.ptq.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptArtifactError, match="another save"):
        create_int8_predictor(artifact)
    for suffix in INFERENCE_FILES:
        Path(f"{artifact}{suffix}").unlink()
    with pytest.raises(ArtifactError, match=r"not exported for Paddle Inference.*'inference'"):
        create_int8_predictor(artifact)


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        create_int8_predictor(tmp_path / "none")


def test_a_float_model_is_refused(tmp_path: Path) -> None:
    exported(nn.Linear(4, 4), tmp_path / "m", data(2, 4))
    with pytest.raises(ArtifactError, match="float model"):
        create_int8_predictor(tmp_path / "m")


def test_onednn_is_refused(artifact: Path) -> None:
    with pytest.raises(ConfigError, match=r"zero points.*engine='openvino'"):
        create_int8_predictor(artifact, engine="onednn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"engine": "tensorrt"}, "engine"), ({"threads": 0}, "threads"), ({"threads": 1.5}, "threads"), ({"threads": True}, "threads")],
)
def test_bad_settings_are_refused(artifact: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_int8_predictor(artifact, **arguments)


def test_a_bad_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="path"):
        create_int8_predictor(3)  # type: ignore[arg-type]
