"""`Calibration.diff`: which tensors' distributions moved."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_cases import calibration, samples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from ptq import Calibration
from ptq.calibration.diff import divergence
from quantizers import PowerOfTwoHistogram


def histogram(values: np.ndarray, bins: int = 8) -> PowerOfTwoHistogram:
    found = PowerOfTwoHistogram(bins)
    found.update(values.astype(np.float32))
    return found


VALUES = st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=40).map(np.array)


@given(VALUES, VALUES)
def test_divergence_equals_an_independent_one(a: np.ndarray, b: np.ndarray) -> None:
    first, second = histogram(a), histogram(b)
    width = max(first.width, second.width)
    edges = np.arange(17) * width
    p, q = ([np.sum(x == 0), *np.histogram(np.abs(x[x != 0]).astype(np.float64), edges)[0]] for x in (a.astype("f4"), b.astype("f4")))
    expected = jensenshannon(p, q, base=2) ** 2
    assert divergence(first, second) == pytest.approx(np.nan_to_num(expected), abs=1e-9)
    assert divergence(first, second) == pytest.approx(divergence(second, first), abs=1e-12)
    assert divergence(first, first) == 0


def test_extremes_of_divergence() -> None:
    assert divergence(histogram(np.zeros(3)), histogram(np.ones(3))) == 1
    assert divergence(histogram(np.full(3, 1e-30)), histogram(np.full(5, 1e30))) == 1
    assert divergence(histogram(np.ones(3), 8), histogram(np.ones(5), 64)) == 0


def test_rows_are_sorted_and_name_what_moved() -> None:
    data = samples()
    before = calibration([data])
    after = calibration([data * 3])
    rows = before.diff(after)
    assert len(rows) == 6
    assert [row.bits for row in rows] == sorted((row.bits for row in rows), reverse=True)  # type: ignore[type-var]
    row = next(row for row in rows if row.layer == "conv1")
    assert (row.side, row.index) == ("input", 0)
    assert row.before == (data.min(), data.max())
    assert row.after == ((data * 3).min(), (data * 3).max())
    assert all(row.bits == 0 for row in before.diff(before))


def test_tensors_that_one_side_lacks_come_first() -> None:
    before, after = calibration([samples()]), calibration([samples()])
    del after.layers["relu"]
    rows = before.diff(after)
    assert (rows[0].layer, rows[0].after, rows[0].bits) == ("relu", None, None)
    table = Calibration.format_diff(rows, limit=2).splitlines()
    assert table[0].split() == ["bits", "layer", "tensor", "range", "before", "range", "after"]
    assert table[1].split()[:3] == ["-", "relu", "output"]
    assert table[-1] == "... 4 more"
    assert len(Calibration.format_diff(rows, limit=None).splitlines()) == 7
