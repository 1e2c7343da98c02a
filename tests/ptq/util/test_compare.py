"""How far two answers are apart, for every exporter and benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metrics import sqnr
from ptq.util.compare import largest_difference, sqnr_db


def test_decibels() -> None:
    clean = np.array([3.0, -4.0])
    assert sqnr_db(clean, clean) == float("inf")
    assert sqnr_db(clean, clean + np.array([0.3, 0.4])) == pytest.approx(20)
    assert sqnr_db(clean, np.array([np.nan, 1])) == float("-inf")
    assert sqnr_db(np.zeros(2), clean) == float("-inf")
    assert sqnr_db(np.array([np.inf, 1.0]), np.array([np.inf, 1.0])) == float("inf")
    assert sqnr is sqnr_db


def test_bytes_do_not_wrap() -> None:
    assert sqnr_db(np.array([100, 100], np.uint8), np.array([110, 90], np.uint8)) == pytest.approx(20)
    assert largest_difference(np.array([90], np.uint8), np.array([100], np.uint8)) == pytest.approx(0.1)


def test_largest_difference_is_relative_to_the_largest_magnitude() -> None:
    assert largest_difference(np.array([1.0, -3.0]), np.array([1.0, -4.0])) == pytest.approx(0.25)
    assert largest_difference(np.array([0.5]), np.zeros(1)) == 0.5
    assert largest_difference(np.array([np.nan, 1.0]), np.array([0.0, 1.0])) == float("inf")
    assert largest_difference(np.zeros(0), np.zeros(0)) == 0.0
