"""Biases follow what samples agree on."""

from __future__ import annotations

import numpy as np
from recovery_cases import rows

from ptq.recovery.bias import corrected_bias


def test_what_all_samples_have_is_taken_back_whole() -> None:
    shift = rows(1, 4)
    found = corrected_bias(np.zeros((1, 4)), np.tile(shift, (9, 1, 1)), np.tile(shift, (3, 1, 1)))
    np.testing.assert_allclose(found, -shift)


def test_a_mean_is_shrunk_by_its_own_uncertainty() -> None:
    residuals = rows(16, 1, 3, seed=2) + np.array([2.0, 0.5, 0.0])
    mean, chance = residuals.mean(axis=0), residuals.var(axis=0, ddof=1) / 16
    found = corrected_bias(np.zeros((1, 3)), residuals, np.zeros((0, 1, 3)))
    np.testing.assert_allclose(found, -np.maximum(mean**2 - chance, 0) / mean, rtol=1e-9)


def test_held_back_samples_deny_a_correction() -> None:
    bias = rows(1, 3)
    shift = np.ones((1, 3))
    np.testing.assert_array_equal(corrected_bias(bias, np.tile(shift, (9, 1, 1)), np.tile(-shift, (4, 1, 1))), bias)


def test_one_sample_tells_nothing() -> None:
    bias = rows(1, 3)
    np.testing.assert_array_equal(corrected_bias(bias, np.ones((1, 1, 3)), np.zeros((0, 1, 3))), bias)
