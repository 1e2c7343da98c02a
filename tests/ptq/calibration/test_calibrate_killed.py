"""SIGKILL during `calibrate(resume=...)`: at most one batch is lost, and the result is the same to the bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from calibrating_process import BATCHES
from calibration_cases import file_bytes, prepared, samples

from ptq import calibrate
from ptq.calibration.file import read_contents
from quantizers import KLQuantizer, MovingAverageAbsmaxQuantizer

PROGRAM = Path(__file__).parents[1] / "calibrating_process.py"


def start(path: Path, rule: str, fuse: str, pause: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), str(path), rule, fuse, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_at(process: subprocess.Popen[str], batch: int, delay: float) -> None:
    """Kills the process ``delay`` seconds after it took a batch from the loader."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"batch {batch}":
            time.sleep(delay)
            break
    process.kill()
    process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0)


def done(path: Path) -> int:
    """Batches that the file has, after checking that it is whole."""
    if not path.exists():
        return 0
    progress = read_contents(path).progress
    return BATCHES if progress is None else len(progress.batches)


def expected(rule: str, fuse: str) -> bytes:
    quantizer = KLQuantizer() if rule == "kl" else MovingAverageAbsmaxQuantizer()
    return file_bytes(calibrate(prepared(quantizer, fuse=fuse == "fuse"), np.split(samples(BATCHES), BATCHES)))


def finish(path: Path, rule: str, fuse: str) -> None:
    out, err = start(path, rule, fuse).communicate()
    assert out.endswith("finished\n"), err[-2000:]
    assert path.read_bytes() == expected(rule, fuse)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_killed_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    random_numbers = random.Random(0)
    for batch in (3, 11):
        kill_at(start(path, "moving", "fuse"), batch, random_numbers.uniform(0, 0.03))
        assert done(path) >= batch  # taking a batch means that the ones before it are stored
    finish(path, "moving", "fuse")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("rule", "fuse"), [("kl", "fuse"), ("moving", "plain")])
def test_killed_at_random_moments(tmp_path: Path, rule: str, fuse: str, seed: int) -> None:
    path, random_numbers = tmp_path / "a.ptqc", random.Random(seed)
    for _ in range(4):
        before = done(path)
        if before == BATCHES:
            break
        batch = random_numbers.randrange(before, min(before + 8, BATCHES))
        kill_at(start(path, rule, fuse), batch, random_numbers.uniform(0, 0.05))
        assert done(path) >= max(before, batch)  # every batch before the one that was taken last is stored
    finish(path, rule, fuse)
