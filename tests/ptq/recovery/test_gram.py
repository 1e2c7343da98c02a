"""Sums of products stand for the data."""

from __future__ import annotations

import numpy as np
from recovery_cases import rows

from ptq.recovery.gram import Gram, centred


def filled() -> tuple[Gram, np.ndarray, np.ndarray]:
    columns, results = rows(2, 30, 4, seed=1) + 1, rows(2, 30, 3, seed=2)
    gram = Gram.empty(2, 3, 4)
    gram.add(columns[:, :20], results[:, :20], 4)
    gram.add(columns[:, 20:], results[:, 20:], 2)
    return gram, columns, results


def test_the_error_is_that_of_the_data() -> None:
    gram, columns, results = filled()
    matrix, bias = rows(2, 3, 4, seed=3), rows(2, 3, seed=4)
    answers = columns @ matrix.swapaxes(1, 2) + bias[:, None]
    np.testing.assert_allclose(gram.error(matrix, bias), np.square(answers - results).sum(axis=1), rtol=1e-9)


def test_the_best_bias_is_the_mean_residual() -> None:
    gram, columns, results = filled()
    matrix = rows(2, 3, 4, seed=3)
    np.testing.assert_allclose(gram.best_bias(matrix), (results - columns @ matrix.swapaxes(1, 2)).mean(axis=1), rtol=1e-9)
    products, crossed = centred(gram)
    bias = gram.best_bias(matrix)
    spread = np.square(results - results.mean(axis=1, keepdims=True)).sum(axis=1)
    quadratic = (matrix @ products * matrix).sum(2) - 2 * (crossed * matrix).sum(2) + spread
    np.testing.assert_allclose(quadratic, gram.error(matrix, bias), rtol=1e-9)


def test_residuals_are_those_of_each_sample() -> None:
    gram, columns, results = filled()
    matrix, bias = rows(2, 3, 4, seed=3), rows(2, 3, seed=4)
    answers = columns @ matrix.swapaxes(1, 2) + bias[:, None] - results
    found = gram.means.residuals(matrix, bias)
    assert found.shape == (6, 2, 3)
    np.testing.assert_allclose(found[0], answers[:, :5].mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found[-1], answers[:, 25:].mean(axis=1), rtol=1e-9)
    change = rows(2, 3, 4, seed=5)
    np.testing.assert_allclose(gram.means.residuals_of(change), gram.means.residuals(matrix + change, bias) - found, rtol=1e-7, atol=1e-12)


def test_held_samples_do_not_count() -> None:
    gram, columns, results = filled()
    before = gram.products.copy()
    gram.hold(columns, results, 3)
    np.testing.assert_array_equal(gram.products, before)
    assert len(gram.held.columns) == 3
