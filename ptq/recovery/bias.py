"""Bias correction: takes back what rounding adds to a layer's result on average, as far as the samples agree on it.

Nagel, van Baalen, Blankevoort, Welling: "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019).  What a layer
reads in a zero padding is zero here too, so borders count as they are.  A mean over a few samples is itself uncertain: it is shrunk by
the share of its square that chance alone would give, and a layer's correction is kept only where it holds for samples that were held back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["corrected_bias"]

Array = npt.NDArray[np.float64]


def corrected_bias(bias: Array, residuals: Array, held: Array) -> Array:
    """The corrected bias, ``[groups, outputs]``; the same one where held-back samples deny a gain.

    Args:
        bias: the bias so far.
        residuals: what each sample's results are too large by on average, ``[samples, groups, outputs]``.
        held: the same of held-back samples.
    """
    count = len(residuals)
    if count < 2:
        return bias
    mean = residuals.mean(axis=0)
    chance = residuals.var(axis=0, ddof=1) / count
    share = np.clip(1 - chance / np.maximum(np.square(mean), np.finfo(np.float64).tiny), 0.0, 1.0)
    correction = share * mean
    if len(held) and np.square(held - correction).sum() >= np.square(held).sum():
        return bias
    return np.asarray(bias - correction)
