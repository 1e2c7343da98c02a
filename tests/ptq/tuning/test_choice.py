"""The choice of layers is the best one: as found by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ptq.tuning.choice import OUTSIDE, Joint, Problem, choose, time_of


def random_problem(seed: int, layers: int = 7) -> Problem:
    random = np.random.default_rng(seed)
    joints = []
    for _ in range(random.integers(0, 10)):
        producer = int(random.integers(OUTSIDE, layers - 1))
        later = np.arange(max(producer, 0), layers)
        readers = tuple(sorted(int(reader) for reader in random.choice(later, random.integers(1, 4))))
        joints.append(Joint(producer, tuple(dict.fromkeys(readers)), bool(random.integers(2)), *(float(x) for x in random.random(2))))
    return Problem(random.random(layers), random.random(layers), joints)


@pytest.mark.parametrize("seed", range(40))
def test_no_other_choice_takes_less(seed: int) -> None:
    problem = random_problem(seed)
    least = min(time_of(problem, choice) for choice in itertools.product([False, True], repeat=len(problem.int8)))
    assert time_of(problem, choose(problem)) == pytest.approx(least)


def test_an_island_that_gains_less_than_its_conversions_is_left_float() -> None:
    int8, floats = np.array([3.0, 0.9, 3.0]), np.array([1.0, 1.0, 1.0])
    chain = [Joint(OUTSIDE, (0,), False, 0.1, 0.1), Joint(0, (1,), True, 0.1, 0.1), Joint(1, (2,), True, 0.1, 0.1)]
    assert choose(Problem(int8, floats, chain)).tolist() == [False, False, False]
    assert choose(Problem(int8, floats, [])).tolist() == [False, True, False]


def test_a_slower_layer_between_faster_ones_stays_on_integers_where_leaving_costs_more() -> None:
    int8, floats = np.array([1.0, 1.1, 1.0]), np.array([3.0, 1.0, 3.0])
    chain = [Joint(0, (1,), True, 0.2, 0.2), Joint(1, (2,), True, 0.2, 0.2)]
    assert choose(Problem(int8, floats, chain)).all()


def test_a_tensor_is_converted_once_for_all_who_read_it() -> None:
    problem = Problem(np.ones(3), np.ones(3), [Joint(OUTSIDE, (0, 1, 2), False, 1.0, 1.0)])
    assert time_of(problem, [True, True, True]) == 4.0
    assert time_of(problem, [False, False, False]) == 3.0


def test_no_layers() -> None:
    assert choose(Problem(np.zeros(0), np.zeros(0), [])).tolist() == []
