"""The grid of an activation tensor, as a layer: observed during calibration, rounding after it."""

from __future__ import annotations

import paddle
from paddle import nn

from quantizers import QParams

from .base import GridInput

__all__ = ["ActivationGrid", "QuantizedActivation"]


class ActivationGrid(nn.Layer):  # type: ignore[misc]
    """Stands where a tensor will be on a grid; passes it on unchanged."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` itself."""
        return x


class QuantizedActivation(GridInput):
    """Rounds a floating-point tensor of any shape to its grid."""

    float_class = ActivationGrid

    def restore_channels(self, factor: paddle.Tensor) -> None:
        """Multiplies what was rounded by a factor that broadcasts over it, from now on."""
        self.register_buffer("output_factor", factor)

    @classmethod
    def from_grid(cls, qparams: QParams) -> QuantizedActivation:
        """The layer for one grid, 0-d scale and zero point."""
        layer = cls()
        layer.set_input_grid(qparams)
        return layer

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid, in its own shape and dtype."""
        rounded = self.quantize_input(x)
        return rounded * self.output_factor.astype(rounded.dtype) if "output_factor" in self._buffers else rounded
