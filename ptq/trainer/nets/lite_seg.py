"""A small segmentation net for CPUs, of the kind of PP-LiteSeg (Peng et al. 2022, arXiv:2204.02681): an encoder that halves sizes, global
context, and a decoder that adds what the encoder saw at each size.

Everything between input and logits can lie on integer grids: ReLU alone as activation, additions for skips, nearest neighbours to enlarge.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

__all__ = ["LiteSeg"]


class _ConvNorm(nn.Layer):  # type: ignore[misc]
    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(inputs, outputs, kernel, stride, kernel // 2, bias_attr=False)
        self.norm = nn.BatchNorm2D(outputs)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.norm(self.conv(x))


class _Block(nn.Layer):  # type: ignore[misc]
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = _ConvNorm(inputs, outputs, 3, stride), _ConvNorm(outputs, outputs)
        self.shortcut = None if inputs == outputs and stride == 1 else _ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.second(F.relu(self.first(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class _Join(nn.Layer):  # type: ignore[misc]
    """A small map enlarged, and a larger one of the encoder added."""

    def __init__(self, small: int, large: int, outputs: int) -> None:
        super().__init__()
        self.small, self.large = _ConvNorm(small, outputs, 1), _ConvNorm(large, outputs, 1)
        self.mix = _ConvNorm(outputs, outputs)

    def forward(self, small: paddle.Tensor, large: paddle.Tensor) -> paddle.Tensor:
        enlarged = F.interpolate(self.small(small), size=large.shape[2:], mode="nearest")
        return F.relu(self.mix(F.relu(enlarged + self.large(large))))


class LiteSeg(nn.Layer):  # type: ignore[misc]
    """Logits ``[n, num_classes, height, width]`` of pictures ``[n, 3, height, width]`` of any size from 32 up.

    Args:
        num_classes: how many.
        width: channels of the first layer; others are multiples of it.  16 needs about 0.3 G multiply-accumulates at 240 × 180.
        depth: blocks of each size.
    """

    def __init__(self, num_classes: int, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(_ConvNorm(3, width, 3, 2), nn.ReLU(), _ConvNorm(width, 2 * width, 3, 2), nn.ReLU())
        self.eighth = self._stage(2 * width, 4 * width, depth)
        self.sixteenth = self._stage(4 * width, 8 * width, depth)
        self.context = nn.Conv2D(8 * width, 8 * width, 1)
        self.join_eighth = _Join(8 * width, 4 * width, 4 * width)
        self.join_quarter = _Join(4 * width, 2 * width, 2 * width)
        self.head = nn.Conv2D(2 * width, num_classes, 1)

    @staticmethod
    def _stage(inputs: int, outputs: int, depth: int) -> nn.Layer:
        return nn.Sequential(_Block(inputs, outputs, 2), *(_Block(outputs, outputs) for _ in range(depth - 1)))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        quarter = self.stem(x)
        eighth = self.eighth(quarter)
        deep = self.sixteenth(eighth)
        deep = F.relu(deep + self.context(F.adaptive_avg_pool2d(deep, 1)))
        logits = self.head(self.join_quarter(self.join_eighth(deep, eighth), quarter))
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)
