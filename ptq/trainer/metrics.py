"""How well classes are told apart: counts of labels by prediction, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Confusion", "Scores"]


@dataclass(frozen=True)
class Scores:
    """What a validation tells.

    Attributes:
        miou: mean over classes that occur of intersection over union.
        accuracy: share of elements that are right.
        iou: by class; NaN for one that occurs neither in labels nor in predictions.
        is_dense: every element has a label, so that ``miou`` is what counts; else ``accuracy``.
    """

    miou: float
    accuracy: float
    iou: tuple[float, ...]
    is_dense: bool = True

    @property
    def score(self) -> float:
        """What the best state is chosen by."""
        return self.miou if self.is_dense else self.accuracy

    def lines(self) -> list[str]:
        """For people."""
        each = " ".join("-" if np.isnan(value) else f"{value:.4f}" for value in self.iou)
        return [f"mIoU: {self.miou:.4f}  accuracy: {self.accuracy:.4f}", f"class IoU: [{each}]"]


class Confusion:
    """Counts, ``[classes, classes]``: of each label (row) what was predicted (column)."""

    def __init__(self, classes: int, ignore_index: int = 255) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros((classes, classes), dtype=np.int64)
        self.ignore_index = ignore_index
        self.is_dense = True

    def add(self, predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> None:
        """Counts a batch, of any shape, without what does not count."""
        self.is_dense = labels.ndim > 1
        counted = labels != self.ignore_index
        classes = len(self.counts)
        pairs = labels[counted] * classes + predicted[counted]
        self.counts += np.bincount(pairs.reshape(-1), minlength=classes**2).reshape(classes, classes)

    def scores(self) -> Scores:
        """What the counts so far mean."""
        right = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - right
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = np.where(union > 0, right / union, np.nan)
        total = self.counts.sum()
        occurs = union > 0
        return Scores(
            float(iou[occurs].mean()) if occurs.any() else 0.0,
            float(right.sum() / total) if total else 0.0,
            tuple(float(value) for value in iou),
            self.is_dense,
        )
