"""Hypothesis strategies for float32 numbers and tensors, with the awkward ones well represented."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

EDGES = [0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 1.0, -1.0, 0.5, 2.0**-10, 3.4e38, -3.4e38, 127.5, 1 / 3]
# Counts of digits that differ by thousands make ranges grow a lot between batches.
finite = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-8, 8, width=32),
    st.sampled_from(EDGES).map(lambda value: float(np.float32(value))),
)
moderate = st.floats(-1000, 1000, width=32)
bits = st.integers(2, 16)


def tensors(elements=finite, *, min_items=1, max_items=6, max_side=7):
    """float32 ``[items, ...]`` of one to three axes."""
    shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=max_side)
    shapes = shapes.filter(lambda shape: min_items <= shape[0] <= max_items)
    return hnp.arrays(np.float32, shapes, elements=elements)


def splits(length):
    """Where to cut ``length`` items into batches: a sorted list of positions."""
    return st.lists(st.integers(0, length), max_size=4).map(lambda cuts: sorted({0, length, *cuts}))
