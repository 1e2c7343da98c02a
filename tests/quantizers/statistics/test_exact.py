"""Sums that do not depend on order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import tensor_strategies as ts
from hypothesis import given
from hypothesis import strategies as st

from quantizers.statistics.exact import exact_mean, exact_sum


@given(values=st.lists(ts.finite, min_size=1, max_size=20), copies=st.sampled_from([1, 9]))
def test_sum_and_mean_are_exact(values, copies):
    # Nine copies take the path for many values.
    array = np.array(values * copies, dtype=np.float32)
    want = sum(Fraction(float(v)) for v in array)
    total = exact_sum(array)
    assert Fraction(total, 2**149) == want
    assert exact_mean(total, len(array)) == float(want / len(array))


def test_both_paths_agree_where_float_sums_do_not():
    values = np.float32([3e38, 1.0, -3e38, 1e-45] * 40)
    np.random.default_rng(0).shuffle(values)
    assert exact_sum(values) == sum(exact_sum(values[i : i + 8]) for i in range(0, 160, 8))
    assert exact_mean(exact_sum(values), 160) == 0.25
