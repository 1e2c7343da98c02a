"""How alike two readings of a picture are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..util.extras import import_extra
from .client import Line

__all__ = ["Agreement", "agreement", "overlap", "pairs"]

ENOUGH = 0.5


@dataclass(frozen=True)
class Agreement:
    """Counts of two readings: lines of the first and of the second, those in the same place, and of these those with the same text."""

    first: int = 0
    second: int = 0
    boxes: int = 0
    texts: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.first + other.first, self.second + other.second, self.boxes + other.boxes, self.texts + other.texts)

    @property
    def box_f1(self) -> float:
        """F1 of the places, 0..1; two empty readings agree."""
        return 2 * self.boxes / (self.first + self.second) if self.first + self.second else 1.0

    @property
    def lines_alike(self) -> float:
        """Share of the first reading's lines that the second found in the same place with the same text, 0..1."""
        return self.texts / self.first if self.first else 1.0


def overlap(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Area of what two convex boxes ``[4, 2]`` share, over the area of both together; 0 for a box without area."""
    cv2 = import_extra("cv2", "ocr", "opencv-python")
    a, b = (np.ascontiguousarray(box, np.float32) for box in (first, second))
    shared = float(cv2.intersectConvexConvex(a, b)[0])
    both = float(cv2.contourArea(a) + cv2.contourArea(b)) - shared
    return max(0.0, shared) / both if both > 0 else 0.0


def pairs(first: Sequence[Line], second: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Lines in the same place: those that overlap most first, each line once."""
    scored = [(overlap(a.box, b.box), i, j) for i, a in enumerate(first) for j, b in enumerate(second)]
    found, left, right = [], set(range(len(first))), set(range(len(second)))
    for score, i, j in sorted(scored, reverse=True):
        if score >= ENOUGH and i in left and j in right:
            left.discard(i)
            right.discard(j)
            found.append((first[i], second[j]))
    return found


def agreement(first: Sequence[Line], second: Sequence[Line]) -> Agreement:
    """What two readings of one picture have in common."""
    found = pairs(first, second)
    return Agreement(len(first), len(second), len(found), sum(a.text == b.text for a, b in found))
