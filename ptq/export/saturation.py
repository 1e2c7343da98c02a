"""Processors without int8 dot products: which models their int8 kernels compute wrongly, and what to say of it.

Such kernels add two products of a byte of the activation, at most 255, and a byte of the weight in 16 bits, and the sum saturates.  With
weights of at most 64, which those of 7 bits are, it never does: 2 * 255 * 64 = 32640.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..runtimes.cpu import Cpu

__all__ = ["halved", "may_saturate", "told"]

SAFE = 64


def may_saturate(weights: Iterable[np.ndarray]) -> bool:
    """Whether pairs of products with these integers can leave 16 bits."""
    return any(array.dtype == np.int8 and np.abs(array.astype(np.int16)).max(initial=0) > SAFE for array in weights)


def halved(integers: np.ndarray) -> np.ndarray:
    """The same weight with half the integers, rounded towards zero: what kernels make of it never saturates."""
    return (integers.astype(np.int16) / 2).astype(np.int8)


def told(runtime: str, cpu: Cpu, sqnr_db: float) -> str:
    """What the user of a right file has to know on such a processor."""
    return (
        f"{cpu} has no VNNI (int8 dot products), and the int8 kernels of {runtime} saturate on it: they add products of 8-bit weights in "
        f"16 bits, so that it answers at {sqnr_db:.1f} dB here; the file is right. Deploy it on a CPU with VNNI, or use weights of 7 bits: "
        "PTQConfig(weight_quantizer=PerChannelAbsmaxQuantizer(7))"
    )
