"""SIGKILL while a model is saved over an older one: what is found then is the older artifact, the newer one, or a named error."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from cpus import WEIGHT_BITS
from fresh import ROOT, script
from models import absmax, converted, data
from paddle import nn

import ptq
from ptq.export import create_int8_predictor
from ptq.export.manifest import MANIFEST_SUFFIX
from ptq.export.save import save_artifact
from quantizers.errors import ArtifactError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork and SIGKILL")]

KILLS = 60
FORMATS = ("jit", "inference")

# Starts once, then forks for every round, so that a kill comes some milliseconds after the renames began, not while Python starts.
SAVING = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from ptq.export import save
from ptq.export.manifest import MANIFEST_SUFFIX

first, second, target = sys.argv[1:]


def save_again(source):
    # the renames of a real save, over copies of files that a real save wrote
    folder = Path(target).parent / f".saving-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    suffixes = [name.name[len("m"):] for name in Path(source).parent.iterdir()]
    for suffix in suffixes:
        shutil.copyfile(source + suffix, folder / f"m{suffix}")
    save._publish(str(folder / "m"), target, [suffix for suffix in suffixes if suffix != MANIFEST_SUFFIX])


print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for source in itertools.cycle((first, second)):
            save_again(source)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def _saved(prefix: Path, seed: int) -> nn.Layer:
    paddle.seed(seed)
    net = nn.Sequential(nn.Conv2D(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    model = converted(net, data(2, 3, 6, 6), config=absmax(weight_bits=WEIGHT_BITS))
    prefix.parent.mkdir()
    save_artifact(model, str(prefix), None, FORMATS)
    return model


def _predict(prefix: Path, x: paddle.Tensor) -> np.ndarray:
    predictor = create_int8_predictor(prefix)
    return np.asarray(predictor.run([x])[0].numpy())


def _load(prefix: Path, x: paddle.Tensor) -> np.ndarray:
    model = ptq.load(prefix)
    model.eval()
    return np.asarray(model(x).numpy())


def _found(answer: Any, prefix: Path, x: paddle.Tensor, known: list[np.ndarray]) -> str:
    """Which of the two saves answered, or the name of the error."""
    try:
        answered = answer(prefix, x)
    except ArtifactError as error:
        return type(error).__name__
    near = [bool(np.abs(answered - expected).max() < 1e-3 * np.abs(expected).max()) for expected in known]
    assert sum(near) == 1, "neither the older nor the newer model answered"
    return ("older", "newer")[near.index(True)]


def test_fifty_kills_between_the_renames(tmp_path: Path) -> None:
    x = data(2, 3, 6, 6, seed=5)
    sources = [tmp_path / name / "m" for name in ("first", "second")]
    for seed, source in enumerate(sources):
        _saved(source, seed)
    target = tmp_path / "target" / "m"
    target.parent.mkdir()
    by_load, by_predictor = [_load(source, x) for source in sources], [_predict(source, x) for source in sources]
    assert np.abs(by_load[0] - by_load[1]).max() > 0.1  # or they could not be told apart
    path = script(tmp_path, SAVING)
    process = subprocess.Popen(
        [sys.executable, str(path), *map(str, sources), str(target)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    outcomes: list[tuple[str, str]] = []
    chance = random.Random(0)
    try:
        assert process.stdout.readline() == "ready\n"
        for _ in range(KILLS):
            process.stdin.write("go\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(0.02 + chance.random() * 0.08)
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "gone\n"
            outcomes.append((_found(_load, target, x, by_load), _found(_predict, target, x, by_predictor)))
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    print(f"\n{KILLS} kills, (ptq.load, create_int8_predictor) found: {counts}")
    assert all(name in ("older", "newer", "CorruptArtifactError", "ArtifactError") for pair in outcomes for name in pair)
    assert any("older" in pair or "newer" in pair for pair in outcomes)


WHOLE = """
import sys
import numpy, paddle
from paddle import nn
from ptq import ImperativePTQ, PTQConfig
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

paddle.seed(1)
net = nn.Sequential(nn.Conv2D(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
engine = ImperativePTQ(PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(7)))
model = engine.quantize(net)
model(paddle.to_tensor(numpy.random.default_rng(0).standard_normal((2, 3, 6, 6)), dtype="float32"))
model = engine.convert(model)
print("ready", flush=True)
engine.save_quantized_model(model, sys.argv[1], formats=("jit", "inference"))
print("saved", flush=True)
"""


def test_kills_at_any_moment_of_a_whole_save(tmp_path: Path) -> None:
    """At moments spread over the time that a whole save takes here; nearly all of it goes by before the first rename."""
    x = data(2, 3, 6, 6, seed=5)
    target, spare = tmp_path / "target" / "m", tmp_path / "spare" / "m"
    _saved(target, 0)
    older = _load(target, x), _predict(target, x)
    path = script(tmp_path, WHOLE)
    whole, finished = _save_for(path, spare, None)
    assert finished
    newer = _load(spare, x), _predict(spare, x)
    assert np.abs(older[0] - newer[0]).max() > 0.1
    outcomes = []
    for moment in np.linspace(0.02, 0.8, 8):
        _, finished = _save_for(path, target, whole * moment)
        outcomes.append("finished" if finished else "killed")
        known = [newer] if finished else [older]  # the checks take seconds, the renames no time
        if not finished and np.array_equal(_load(target, x), newer[0]):
            known = [newer]  # killed after the renames, before it could say so
        np.testing.assert_array_equal(_load(target, x), known[0][0])
        np.testing.assert_allclose(_predict(target, x), known[0][1], atol=1e-5)
        assert (target.parent / f"m{MANIFEST_SUFFIX}").is_file()
        if known[0] is newer:
            _saved_again(target)
    print(f"\na whole save takes {whole:.1f} s; {outcomes}")
    assert outcomes.count("killed") >= 4, "this test kills too late to show anything"


def _save_for(path: Path, target: Path, seconds: float | None) -> tuple[float, bool]:
    """Lets a process save, for so long or as long as it takes; for how long it was, and whether it finished."""
    process = subprocess.Popen(
        [sys.executable, str(path), str(target)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        start = time.monotonic()
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        finished = "saved\n" in process.stdout.readlines()
        return time.monotonic() - start, finished
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _saved_again(target: Path) -> None:
    """The older model once more, over the newer one."""
    for file in target.parent.iterdir():
        file.unlink() if file.is_file() else shutil.rmtree(file)
    target.parent.rmdir()
    _saved(target, 0)
