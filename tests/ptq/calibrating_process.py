"""A process that calibrates with ``resume`` and says which batch it takes: ``calibrating_process.py FILE RULE FUSE PACE``.

``PACE`` is ``each`` to have every batch stored, as when batches take long, and ``paced`` for as often as their time allows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE.parents[1]), str(_HERE)]

from calibration_cases import prepared, samples  # noqa: E402

from ptq import calibrate  # noqa: E402
from ptq.calibration import pace  # noqa: E402
from quantizers import KLQuantizer, MovingAverageAbsmaxQuantizer  # noqa: E402

BATCHES = 24


def loader() -> Iterator[np.ndarray]:
    """Single samples; a line before each."""
    for index, sample in enumerate(np.split(samples(BATCHES), BATCHES)):
        print(f"batch {index}", flush=True)
        yield sample


if __name__ == "__main__":
    path, rule, fuse, pace_name = sys.argv[1:]
    if pace_name == "each":
        pace.clock = lambda: 0.0  # by which a write takes no time
    quantizer = KLQuantizer() if rule == "kl" else MovingAverageAbsmaxQuantizer()
    calibrate(prepared(quantizer, fuse=fuse == "fuse"), loader(), resume=path)
    print("finished", flush=True)
