"""A process that calibrates with ``resume`` and says which batch it takes: ``calibrating_process.py FILE RULE FUSE PAUSE``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parents[1]), str(_HERE)]

from calibration_cases import prepared, samples  # noqa: E402

from ptq import calibrate  # noqa: E402
from quantizers import KLQuantizer, MovingAverageAbsmaxQuantizer  # noqa: E402

BATCHES = 24


def loader(pause: float) -> Iterator[np.ndarray]:
    """Single samples; a line before each."""
    for index, sample in enumerate(np.split(samples(BATCHES), BATCHES)):
        print(f"batch {index}", flush=True)
        time.sleep(pause)
        yield sample


if __name__ == "__main__":
    path, rule, fuse, pause = sys.argv[1:]
    quantizer = KLQuantizer() if rule == "kl" else MovingAverageAbsmaxQuantizer()
    calibrate(prepared(quantizer, fuse=fuse == "fuse"), loader(float(pause)), resume=path)
    print("finished", flush=True)
