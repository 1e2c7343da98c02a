"""HardSwish as integer kernels compute it: a saturating addition and a multiplication, both of integers."""

from __future__ import annotations

import numpy as np
import paddle

from quantizers import QParams

from .base import GridInput

__all__ = ["IntegerHardswish"]

# x * clip(x + 3, 0, 6) / 6, Howard et al. 2019, "Searching for MobileNetV3"
SHIFT, HIGHEST, LEVELS = 3.0, 6.0, 255


class IntegerHardswish(GridInput):
    """``x * gate(x + 3)``: the gate's grid saturates at 0 and at 6, where HardSigmoid does, and is read as 0 to 1.

    No runtime has a HardSwish of integers, but ONNX Runtime has additions and multiplications.  The gate has 255 steps, so the result is
    off by at most ``|x| / 510`` for ``|x| < 3`` and by nothing beyond.

    Buffers: those of `GridInput`; shift, gate_scale: float32, shape [].
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_input_grid(QParams(np.array(HIGHEST / LEVELS, np.float32), np.array(0, np.int32), 0, LEVELS, 8))
        self.register_buffer("shift", paddle.to_tensor(SHIFT, dtype="float32"))
        self.register_buffer("gate_scale", paddle.to_tensor(1.0 / HIGHEST, dtype="float32"))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """HardSwish of ``x``, a floating-point tensor of any shape that lies on a grid, in its dtype."""
        gate = self.quantize_input(x + self.shift.astype(x.dtype)) * self.gate_scale.astype(x.dtype)
        return x * gate
