"""Ranges by their effect on a layer's result."""

from __future__ import annotations

import numpy as np
import pytest
from models import absmax
from recovery_cases import bench_of, rows

from ptq import PTQConfig
from ptq.recovery.ranges import Reader, best_grid, recover_ranges
from quantizers import QParams


@pytest.mark.parametrize(
    "grid", [QParams.symmetric(9.0, num_bits=4), QParams.symmetric(9.0, num_bits=4, signed=False), QParams.asymmetric(-9, 12, num_bits=4)]
)
def test_the_best_of_a_fine_search(grid: QParams) -> None:
    columns = rows(1, 500, 3).astype("float32")
    columns = np.abs(columns) if not grid.signed and grid.is_symmetric else columns
    reader = Reader(rows(1, 2, 3), columns)
    found = best_grid(grid, reader.error)
    assert (found.signed, found.num_bits, found.is_symmetric or not grid.is_symmetric) == (grid.signed, 4, True)
    tried = np.linspace(0.5, 12, 60)
    if grid.is_symmetric:
        every = [QParams.symmetric(high, num_bits=4, signed=grid.signed) for high in tried]
    else:
        every = [QParams.asymmetric(-low, high, num_bits=4) for low in tried[:25] for high in tried[:25]]
    assert reader.error(found) < 1.15 * min(map(reader.error, every))
    assert reader.error(found) < reader.error(grid)


def test_what_is_best_already_stays() -> None:
    columns = (np.arange(16, dtype=np.float32) / 15).reshape(1, 16, 1)
    grid = QParams.symmetric(1.0, num_bits=4, signed=False)
    assert best_grid(grid, Reader(np.ones((1, 1, 1)), columns).error) is grid


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_wide_ranges_are_found_and_narrowed(placement: str) -> None:
    config = absmax(4)
    bench = bench_of(config=PTQConfig(config.in_act_quantizer, config.wt_quantizer, placement=placement))
    for twin in bench.twins.values():
        grid = twin.input_qparams
        if grid is not None:
            twin.set_input_grid(QParams(grid.scale * 2.5, grid.zero_point, grid.quant_min, grid.quant_max, 4))
    before = bench.score()
    recover_ranges(bench)
    assert bench.score() > before + 2
