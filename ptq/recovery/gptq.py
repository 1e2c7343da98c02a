"""GPTQ: rounds one input after the other and lets the inputs that follow make up for the error.

Frantar, Ashkboos, Hoefler, Alistarh: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2022), and
Frantar, Singh, Alistarh: "Optimal Brain Compression" (2022).  Here for any product of matrices, all groups at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .objective import Bounds, damped

__all__ = ["gptq"]

Array = npt.NDArray[np.float64]

BLOCK = 128


def gptq(goal: Array, scale: Array, bounds: Bounds, products: Array, *, damping: float = 0.01, act_order: bool = True) -> Array:
    """Integers for weights, ``[groups, outputs, inputs]``.

    Args:
        goal, scale: the weights and the scales of their integers, both of that shape.
        bounds: smallest and largest integer.
        products: sums of products of the inputs, ``H``, ``[groups, inputs, inputs]``.
        damping: share of the mean diagonal of ``H`` that is added to its diagonal.
        act_order: begin with the inputs of most power.
    """
    matrix = damped(products, damping)
    diagonal = np.einsum("gkk->gk", matrix)
    order = np.argsort(-diagonal if act_order else np.zeros_like(diagonal), axis=1, kind="stable")
    matrix = np.take_along_axis(np.take_along_axis(matrix, order[:, :, None], 1), order[:, None, :], 2)
    # upper triangular U with inverse(H) = U' U: row k has what the inputs behind k do about an error in k
    upper = np.linalg.cholesky(np.linalg.inv(matrix)).swapaxes(1, 2)
    weights = np.take_along_axis(goal, order[:, None, :], 2)
    scales = np.take_along_axis(np.broadcast_to(scale, goal.shape), order[:, None, :], 2)
    integers = np.empty_like(weights)
    inputs = weights.shape[2]
    for start in range(0, inputs, BLOCK):
        stop = min(start + BLOCK, inputs)
        errors = np.empty((*weights.shape[:2], stop - start))
        for k in range(start, stop):
            integers[..., k] = np.clip(np.rint(weights[..., k] / scales[..., k]), *bounds)
            error = (weights[..., k] - integers[..., k] * scales[..., k]) / upper[:, None, k, k]
            errors[..., k - start] = error
            weights[..., k + 1 : stop] -= error[..., None] * upper[:, None, k, k + 1 : stop]
        weights[..., stop:] -= errors @ upper[:, start:stop, stop:]
    return np.take_along_axis(integers, np.argsort(order, axis=1)[:, None, :], 2)
