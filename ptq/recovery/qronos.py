"""Qronos: weights that answer, from what the quantized layer reads, what the float layer answers from what it reads.

Zhang, Zhang, Rush, Saab, Colbert: "Qronos: Correcting the Past by Shaping the Future... in Post-Training Quantization" (2025).  Their
theorem makes of it a least-squares solution that is then rounded as GPTQ does; so this file has the solution, and the rounding is shared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .objective import damped

__all__ = ["corrected_goal"]

Array = npt.NDArray[np.float64]


def corrected_goal(goal: Array, products: Array, crossed: Array, *, damping: float = 0.01) -> Array:
    """The weights of least error, held near ``goal`` by the damping: ``[groups, outputs, inputs]``.

    Minimises ``sum (w x - y)² + damping * mean diag(H) * |w - goal|²`` for the inputs ``x`` of the quantized layer and the results ``y``
    of the float one: ``w = goal + (C - goal H) inverse(H + damping)``.

    Args:
        goal: the float weights.
        products: ``H = sum x x'``, ``[groups, inputs, inputs]``.
        crossed: ``C = sum y x'``, ``[groups, outputs, inputs]``.
        damping: see above.
    """
    residual = crossed - goal @ products
    return np.asarray(goal + np.linalg.solve(damped(products, damping), residual.swapaxes(1, 2)).swapaxes(1, 2))
