"""AdaRound: learns for every weight whether to round it up or down, by the error of the layer's result.

Nagel, Amjad, van Baalen, Louizos, Blankevoort: "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020).  The error is the
quadratic form of the inputs' Gram matrix, so that a step costs no look at the data.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .objective import Bounds, better_rows, nearest

__all__ = ["adaround"]

Array = npt.NDArray[np.float64]

ZETA, GAMMA = 1.1, -0.1  # the sigmoid is stretched to reach 0 and 1
BETA = (20.0, 2.0)  # of the regulariser, from the beginning to the end
WARM = 0.2  # share of the steps without it
RATE, WEIGHT = 0.02, 0.01


def adaround(goal: Array, scale: Array, bounds: Bounds, products: Array, *, steps: int = 500) -> Array:
    """Integers for weights, each the next one above or below; rows where that is no gain over the nearest ones get those.

    Shapes as in `gptq.gptq`; ``steps``: of gradient descent.
    """
    mean = np.maximum(np.einsum("gkk->gk", products).mean(axis=1), np.finfo(np.float64).tiny)
    unit = products / mean[:, None, None]
    below = np.floor(goal / scale)
    part = goal / scale - below
    logits = -np.log((ZETA - GAMMA) / (np.clip(part, 0.0, 1.0) - GAMMA) - 1)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-logits))
        stretched = sigmoid * (ZETA - GAMMA) + GAMMA
        soft = np.clip(stretched, 0.0, 1.0)
        # in steps of the grid, so that rows of every scale move alike
        gradient = 2 * ((soft - part) * scale @ unit) / scale
        progress = step / steps
        if progress > WARM:
            beta = BETA[1] + (BETA[0] - BETA[1]) * (1 - (progress - WARM) / (1 - WARM))
            distance = 2 * soft - 1
            gradient += -WEIGHT * 2 * beta * np.sign(distance) * np.abs(distance) ** (beta - 1)
        gradient *= ((stretched > 0) & (stretched < 1)) * (ZETA - GAMMA) * sigmoid * (1 - sigmoid)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * np.square(gradient)
        logits -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    up = 1 / (1 + np.exp(-logits)) * (ZETA - GAMMA) + GAMMA >= 0.5
    found = np.clip(below + up, *bounds)
    plain = nearest(goal, scale, bounds)
    return better_rows((found, scale), (plain, scale), goal, products)[0]
