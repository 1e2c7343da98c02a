"""Halves the weights of a loaded program, so that processors without int8 dot products compute it rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from ..saturation import halved, may_saturate

__all__ = ["halve_weights"]


def halve_weights(program: Any, scope: Any) -> bool:
    """Halves all int8 parameters in the scope if one of them may saturate; whether it did.

    Scales stay: it is another model of the same structure, for the engine and for the reference alike.
    """
    names = [op.attrs()["parameter_name"] for op in program.global_block().ops if op.name() == "builtin.parameter"]
    tensors = [scope.find_var(name).get_tensor() for name in names]
    weights = [(tensor, array) for tensor in tensors if (array := np.array(tensor)).dtype == np.int8]
    if not may_saturate(array for _, array in weights):
        return False
    for tensor, array in weights:
        tensor.set(halved(array), paddle.CPUPlace())
    return True
