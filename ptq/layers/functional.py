"""Operations as layers, for users who want their functional operations observed like any layer."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ConfigError

__all__ = ["FloatFunctional"]


class FloatFunctional(nn.Layer):  # type: ignore[misc]
    """A layer that computes whichever operation it is asked for: ``self.sum = FloatFunctional()``, then ``self.sum.add(x, y)``.

    Use one instance per place, so that each result has statistics of its own.
    """

    OPERATIONS = ("add", "subtract", "multiply", "divide", "matmul", "concat")

    def forward(self, operation: str, *args: Any, **kwargs: Any) -> paddle.Tensor:
        """Computes ``paddle.<operation>(*args, **kwargs)``.

        Raises:
            ConfigError: the operation is not one of `OPERATIONS`.
        """
        if operation not in self.OPERATIONS:
            raise ConfigError(f"FloatFunctional has no operation {operation!r}; it has {', '.join(self.OPERATIONS)}")
        return getattr(paddle, operation)(*args, **kwargs)

    def add(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """``x + y``."""
        return self("add", x, y)

    def subtract(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """``x - y``."""
        return self("subtract", x, y)

    def multiply(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """``x * y``."""
        return self("multiply", x, y)

    def divide(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """``x / y``."""
        return self("divide", x, y)

    def matmul(self, x: paddle.Tensor, y: paddle.Tensor, transpose_x: bool = False, transpose_y: bool = False) -> paddle.Tensor:
        """``paddle.matmul``."""
        return self("matmul", x, y, transpose_x=transpose_x, transpose_y=transpose_y)

    def concat(self, tensors: list[paddle.Tensor], axis: int = 0) -> paddle.Tensor:
        """``paddle.concat``."""
        return self("concat", tensors, axis=axis)
