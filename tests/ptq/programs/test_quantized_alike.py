"""A net quantized from its class and from its saved program gets the same grids and answers alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from benchmarks.bench_programs import quantized_alike
from benchmarks.real_nets import NETS, why_absent


@pytest.mark.slow
@pytest.mark.skipif(bool(why_absent()), reason=why_absent() or "the real nets are here")
@pytest.mark.parametrize("name", NETS)
def test_real_nets(name: str, tmp_path: Path) -> None:
    found = quantized_alike(name, tmp_path)
    assert found["grids"] > 5
    assert found["largest difference of grids"] <= 1e-6
    assert found["answers differ"] <= 1e-5 or found["answers, dB"] >= 40
    assert not np.isnan(found["answers differ"])
    assert paddle.in_dynamic_mode()
