"""One rank of a distributed calibration; started by `paddle.distributed.launch` with a folder and the name of a case."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import paddle
import paddle.distributed

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parents[1]), str(_HERE)]

from calibration_cases import prepared, samples, thresholds  # noqa: E402

from ptq import Calibration, ImperativePTQ, calibrate  # noqa: E402
from ptq.calibration.ranks import synchronize  # noqa: E402
from quantizers import AvgAbsmaxQuantizer, HistQuantizer, KLQuantizer, MovingAverageAbsmaxQuantizer, MSEQuantizer  # noqa: E402
from quantizers.errors import ConfigError, QuantizationError  # noqa: E402

RULES = [KLQuantizer(), MSEQuantizer(), HistQuantizer(), AvgAbsmaxQuantizer()]
SHARES = {"even": (0, 6, 12), "uneven": (0, 11, 12), "idle": (0, 0, 12), "nothing": (0, 0, 0), "moving": (0, 5, 12), "nan": (0, 5, 12)}


PATIENCE = 5  # seconds for a gathering of a few kilobytes, once both ranks are there


def one_rank_fails(folder: Path, case: str) -> None:
    """Rank 1 cannot even say what it has; each rank writes how it ended, also when it was left waiting."""
    rank = paddle.distributed.get_rank()
    model = prepared()
    model(paddle.to_tensor(samples()[:4]))
    if rank == 1 and case == "unprepared":
        model = ImperativePTQ().convert(model)
    if rank == 1 and case == "broken":
        model.fc._quant_config.in_act_quantizer = None  # nothing that has statistics, or anything
    paddle.distributed.barrier()
    waiting = threading.Timer(PATIENCE, _give_up, [folder / f"error-{rank}"])
    waiting.start()
    try:
        synchronize(model)
        ended = "no error"
    except Exception as error:  # whatever it is: the test reads it
        ended = f"{type(error).__name__}: {error}"
    waiting.cancel()
    (folder / f"error-{rank}").write_text(ended)
    deadline = time.monotonic() + 4 * PATIENCE
    while not (folder / f"error-{1 - rank}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)  # a rank that ends takes its connections with it, which would wake the other


def _give_up(path: Path) -> None:
    path.write_text("still waiting")
    os._exit(0)


def main(folder: Path, case: str) -> None:
    """Writes what this rank found, or the error."""
    if case == "even":
        try:
            synchronize(prepared())
        except ConfigError as error:
            (folder / f"early-{paddle.distributed.get_rank()}").write_text(str(error))
    paddle.distributed.init_parallel_env()
    if case in ("unprepared", "broken"):
        one_rank_fails(folder, case)
        return
    rank = paddle.distributed.get_rank()
    start, end = SHARES[case][rank : rank + 2]
    model = prepared(MovingAverageAbsmaxQuantizer() if case == "moving" else KLQuantizer(), fuse=True)
    share = samples()[start:end]
    try:
        if case == "nan" and rank == 1:
            share = share * np.float32(np.nan)
        if len(share):
            calibrate(model, np.split(share, [len(share) // 2]) if len(share) > 1 else [share], progress=False)
    except QuantizationError as error:
        print("calibration failed:", error)
    try:
        found = synchronize(model)
    except QuantizationError as error:
        (folder / f"error-{rank}").write_text(f"{type(error).__name__}: {error}")
        return
    if Calibration.of(model) != found:
        raise SystemExit("the model does not hold what was returned")
    found.save(folder / f"rank-{rank}.ptqc")
    engine = ImperativePTQ()
    answers = [thresholds(engine.convert(model, inplace=False, activation_quantizer=rule)) for rule in RULES]
    (folder / f"thresholds-{rank}").write_text(repr(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
