"""A grid that training learns or observes: a layer that rounds what it is given, and knows the integers behind it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import paddle
from paddle import nn

from quantizers import BaseQuantizer, QParams
from quantizers.errors import ConfigError, NonFiniteError

from ..ranks import same_on_all_ranks

__all__ = ["ActivationGridInTraining", "GridInTraining"]

TINY = float(np.finfo(np.float32).tiny)


class GridInTraining(nn.Layer):  # type: ignore[misc]
    """The grid of one tensor.

    Args:
        rule: gives the first range of the tensor, from what calibration saw or else from the first batch; its ``quant_bits`` are the width.
        place: what messages call the tensor.

    Buffers:
        ready: float32 [], 1 once there is a range; so a state that is loaded is not initialised again.
    """

    setting_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, rule: BaseQuantizer, place: str) -> None:
        super().__init__()
        self.rule = rule
        self.place = place
        self.num_bits = rule.quant_bits
        self.register_buffer("ready", paddle.zeros([]))
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """Whether there is a range."""
        if not self._is_ready:  # the buffer is read until it says yes, for a state may have been loaded
            self._is_ready = bool(self.ready)
        return self._is_ready

    def set_ready(self) -> None:
        """Notes that there is a range."""
        self.ready.set_value(paddle.ones([]))

    def qparams(self) -> QParams:
        """The grid as the engine has it; raises ``ConfigError`` where there is none yet."""
        raise NotImplementedError(f"{type(self).__name__} must define qparams()")

    def require_ready(self) -> None:
        """Raises `ConfigError` unless there is a range."""
        if not self.is_ready:
            raise ConfigError(f"{self.place}: no batch has reached it and there is no range; train, or pass data to prepare")

    def checked_scale(self, scale: Any) -> np.ndarray:
        """Float32 scales as NumPy; raises `NonFiniteError` where training has made one NaN or Inf."""
        array = np.asarray(scale.numpy() if isinstance(scale, paddle.Tensor) else scale, dtype=np.float32)
        if not np.isfinite(array).all():
            raise NonFiniteError(f"{self.place}: its step is NaN or Inf; train with a smaller learning rate, from an earlier state")
        return np.maximum(array, TINY)

    def extra_repr(self) -> str:
        """The width."""
        return f"bits={self.num_bits}"


class ActivationGridInTraining(GridInTraining):
    """The grid of an activation, kept in its unsigned form: integers from 0 to ``2 ** bits - 1`` and a zero point.

    Buffers:
        zero_point: float32 [], 0 for what is never negative, the middle for a symmetric grid.
    """

    def __init__(self, rule: BaseQuantizer, place: str) -> None:
        super().__init__(rule, place)
        self.register_buffer("zero_point", paddle.zeros([]))
        self._bounds: tuple[float, float] | None = None

    @property
    def levels(self) -> int:
        """The largest integer."""
        return int(2**self.num_bits - 1)

    def bounds(self) -> tuple[float, float]:
        """Smallest and largest integer, counted from the zero point."""
        zero = float(self.zero_point)
        return -zero, self.levels - zero

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid, in its own shape and dtype; the first batch gives the range where calibration did not."""
        dtype = x.dtype
        if dtype != paddle.float32:
            x = x.astype("float32")
        if not self.is_ready:
            self.start(first_range(self.rule, x, self.place))
        if self.training:
            self.observe(x)
        rounded = self.rounded(x)
        return rounded if dtype == paddle.float32 else rounded.astype(dtype)

    def start(self, grid: QParams) -> None:
        """Takes the first range; all ranks of a distributed training that of the first."""
        scale, zero_point = same_on_all_ranks(grid.scale), same_on_all_ranks(grid.zero_point - grid.quant_min)
        self.zero_point.set_value(paddle.to_tensor(zero_point, dtype="float32"))
        self.set_scale(float(scale))
        self.set_ready()

    def set_scale(self, scale: float) -> None:
        """Sets what the step follows from."""
        raise NotImplementedError(f"{type(self).__name__} must define set_scale(scale)")

    def observe(self, x: paddle.Tensor) -> None:
        """Looks at a batch in training."""

    def rounded(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x``, float32, on the grid."""
        raise NotImplementedError(f"{type(self).__name__} must define rounded(x)")

    def scale_value(self) -> Any:
        """The step of the grid."""
        raise NotImplementedError(f"{type(self).__name__} must define scale_value()")

    def qparams(self) -> QParams:
        """The grid as the engine has it; raises ``ConfigError`` where there is none yet."""
        self.require_ready()
        scale = self.checked_scale(self.scale_value())
        zero_point = np.asarray(np.rint(float(self.zero_point)), dtype=np.int32)
        middle = 2 ** (self.num_bits - 1)
        if zero_point == middle:
            return QParams(scale, np.zeros([], np.int32), -middle, middle - 1, self.num_bits)
        return QParams(scale, zero_point, 0, self.levels, self.num_bits)


def first_range(rule: BaseQuantizer, x: paddle.Tensor, place: str) -> QParams:
    """The range that a rule gives a single batch; raises `NonFiniteError` for NaN or Inf in it."""
    with paddle.no_grad():
        rule.reset()
        rule.name = rule.name or place
        rule.sample_data(None, (x.detach(),))
        rule.cal_thresholds()
        (grid,) = rule.qparams
        rule.reset()
    return grid
