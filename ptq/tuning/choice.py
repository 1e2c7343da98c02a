"""Which layers to leave float so that one inference takes least, those decided together that conversions between them would cost most.

A layer takes some time on integers and another in float, and a tensor that some compute on integers and others in float is converted, once.
The choice of least time is a linear programme with whole numbers (`scipy.optimize.milp`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["OUTSIDE", "Joint", "Problem", "choose", "time_of"]

# Number of what comes before all layers, which is float.
OUTSIDE = -1
SECONDS = 30.0


@dataclass(frozen=True)
class Joint:
    """A tensor between layers, which are given by their numbers.

    Attributes:
        producer: what computes it, or `OUTSIDE`.
        readers: what reads it.
        is_direct: the producer has it as integers without a conversion when it computes on integers.
        enter: time of making it integers; leave: of making it float again.
    """

    producer: int
    readers: tuple[int, ...]
    is_direct: bool
    enter: float
    leave: float


@dataclass(frozen=True)
class Problem:
    """Times of each layer on integers and in float, and the tensors between them."""

    int8: npt.NDArray[np.float64]
    floats: npt.NDArray[np.float64]
    joints: Sequence[Joint]


def time_of(problem: Problem, on_integers: Sequence[bool] | npt.NDArray[np.bool_]) -> float:
    """What one inference takes when these layers compute on integers and the others in float."""
    total = float(np.where(on_integers, problem.int8, problem.floats).sum())
    for joint in problem.joints:
        is_integer = joint.is_direct and joint.producer != OUTSIDE and on_integers[joint.producer]
        reads = [on_integers[reader] for reader in joint.readers]
        total += joint.enter * (any(reads) and not is_integer) + joint.leave * (is_integer and not all(reads))
    return total


def choose(problem: Problem) -> npt.NDArray[np.bool_]:
    """Which layers compute on integers in the choice of least time; all where no choice was found in time."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    count, joints = len(problem.int8), len(problem.joints)
    cost = np.concatenate(
        [problem.int8 - problem.floats, [joint.enter for joint in problem.joints], [joint.leave for joint in problem.joints]]
    )
    if not count:
        return np.ones(0, dtype=bool)
    rows = [row for number, joint in enumerate(problem.joints) for row in _rows(joint, count + number, count + joints + number)]
    scale = max(float(np.abs(cost).max(initial=0.0)), 1e-300)
    constraints = []
    if rows:
        matrix = np.zeros((len(rows), len(cost)))
        for line, row in zip(matrix, rows, strict=True):
            for column, value in row.items():
                line[column] += value
        constraints.append(LinearConstraint(matrix, 0, np.inf))
    whole = (np.arange(len(cost)) < count).astype(np.int64)
    found = milp(cost / scale, integrality=whole, bounds=Bounds(0, 1), constraints=constraints, options={"time_limit": SECONDS})
    return np.ones(count, dtype=bool) if found.x is None else np.asarray(found.x[:count] > 0.5)


def _rows(joint: Joint, enter: int, leave: int) -> list[dict[int, float]]:
    """What is at least 0, by column: a tensor is made integers, or float again, where one of its readers asks for it."""
    rows = []
    for reader in joint.readers:
        if not joint.is_direct or joint.producer == OUTSIDE:
            rows.append({enter: 1.0, reader: -1.0})
        elif reader != joint.producer:
            rows.append({enter: 1.0, reader: -1.0, joint.producer: 1.0})
            rows.append({leave: 1.0, joint.producer: -1.0, reader: 1.0})
    return rows
