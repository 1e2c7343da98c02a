"""`ptq.distributed.synchronize`, with two processes under `paddle.distributed.launch`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import paddle
import pytest
from calibration_cases import calibration, file_bytes, prepared, samples, thresholds
from distributed_process import RULES

from ptq import ImperativePTQ
from ptq.calibration.ranks import synchronize
from quantizers.errors import ModelError, NoCalibrationDataError

PROGRAM = Path(__file__).parents[1] / "distributed_process.py"


def sockets_work() -> bool:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError:
        return False
    return True


needs_sockets = pytest.mark.skipif(not sockets_work(), reason="two processes talk over local sockets, which this machine refuses")


def launch(folder: Path, case: str) -> None:
    """Runs the program with two ranks."""
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(folder / "log")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PADDLE_", "CUDA_VISIBLE_DEVICES"))}
    process = subprocess.run(
        [*command, str(PROGRAM), str(folder), case],
        capture_output=True,
        text=True,
        timeout=240,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    logs = "\n".join(log.read_text(errors="replace")[-1500:] for log in sorted((folder / "log").glob("workerlog.*")))
    assert process.returncode == 0, process.stdout[-500:] + process.stderr[-1500:] + logs


def check_equal_to_one_process(folder: Path) -> None:
    single = prepared(fuse=True)
    single(paddle.to_tensor(samples()))
    expected = repr([thresholds(ImperativePTQ().convert(single, inplace=False, activation_quantizer=rule)) for rule in RULES])
    content = file_bytes(calibration([samples()], fuse=True))
    for rank in range(2):
        assert (folder / f"thresholds-{rank}").read_text() == expected
        assert (folder / f"rank-{rank}.ptqc").read_bytes() == content


@needs_sockets
def test_two_ranks_get_the_thresholds_of_one_process(tmp_path: Path) -> None:
    launch(tmp_path, "even")
    check_equal_to_one_process(tmp_path)
    for rank in range(2):
        assert "init_parallel_env() before" in (tmp_path / f"early-{rank}").read_text()


@needs_sockets
def test_a_rank_without_data_takes_part(tmp_path: Path) -> None:
    launch(tmp_path, "idle")
    check_equal_to_one_process(tmp_path)


@needs_sockets
@pytest.mark.slow
def test_shares_of_different_size(tmp_path: Path) -> None:
    launch(tmp_path, "uneven")
    check_equal_to_one_process(tmp_path)


@needs_sockets
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nan", "CalibrationError: the calibration of 1 of 2 ranks cannot be used: rank 1: .*NaN"),
        pytest.param("moving", "CalibrationError: layer 'conv1' input: .*moving average", marks=pytest.mark.slow),
        pytest.param("nothing", "NoCalibrationDataError: none of the 2 ranks has seen calibration data", marks=pytest.mark.slow),
    ],
)
def test_every_rank_raises_the_same_error(tmp_path: Path, case: str, message: str) -> None:
    launch(tmp_path, case)
    errors = [(tmp_path / f"error-{rank}").read_text() for rank in range(2)]
    assert errors[0] == errors[1]
    assert re.match(message, errors[0])


@needs_sockets
@pytest.mark.slow
@pytest.mark.parametrize("case", ["unprepared", "broken"])
@pytest.mark.xfail(strict=True, reason="a rank that fails before the gathering leaves the others waiting")
def test_all_ranks_learn_of_one_that_fails_before_the_gathering(tmp_path: Path, case: str) -> None:
    launch(tmp_path, case)
    errors = [(tmp_path / f"error-{rank}").read_text() for rank in range(2)]
    assert errors[0] == errors[1]
    assert re.match("CalibrationError: .*rank 1", errors[0])


def test_a_process_on_its_own_keeps_its_own() -> None:
    model = prepared()
    with pytest.raises(NoCalibrationDataError):
        synchronize(model)
    model(paddle.to_tensor(samples()))
    assert synchronize(model) == calibration([samples()])
    with pytest.raises(ModelError):
        synchronize(ImperativePTQ().convert(model))
