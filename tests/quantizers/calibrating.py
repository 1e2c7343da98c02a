"""Shared by the tests of quantizers: data, and a quantizer that has seen it."""

from __future__ import annotations

import numpy as np


def calibrated(kind, *batches, **kwargs):
    quantizer = kind(**kwargs) if isinstance(kind, type) else kind
    for batch in batches:
        quantizer.sample_data(None, (batch,))
    quantizer.cal_thresholds()
    return quantizer


def normal(seed=0, shape=(4, 500)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def hard_swish(x):
    return x * np.clip(x + 3, 0, 6) / 6
