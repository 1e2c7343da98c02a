"""How two models' outputs are compared."""

from __future__ import annotations

import numpy as np

from ptq.util.compare import sqnr_db as sqnr

__all__ = ["agreement", "bits_per_byte", "map_f1", "softmax", "sqnr", "top1"]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of correct answers, in percent."""
    return float((logits.argmax(-1) == labels).mean() * 100)


def agreement(reference: np.ndarray, other: np.ndarray) -> float:
    """Share of equal answers of two classifiers, in percent."""
    return float((reference.argmax(-1) == other.argmax(-1)).mean() * 100)


def map_f1(reference: np.ndarray, other: np.ndarray, threshold: float = 0.3) -> float:
    """F1 of ``other > threshold`` against ``reference > threshold``, in percent."""
    expected, found = reference > threshold, other > threshold
    return float(200 * (expected & found).sum() / (expected.sum() + found.sum()))


def bits_per_byte(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean negative log2 likelihood of the targets; logits ``[..., classes]``, targets integers of shape ``[...]``."""
    logits = logits.astype(np.float64)
    largest = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - largest).sum(-1)) + largest[..., 0]
    chosen = np.take_along_axis(logits, targets[..., None].astype(np.int64), -1)[..., 0]
    return float((log_sum - chosen).mean() / np.log(2))
