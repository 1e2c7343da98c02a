"""From a picture to a model's input: resize, crop or pad, colours, scale, mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .pillow import pillow

__all__ = ["Preprocessing", "fitted", "resized"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a picture, in this order: resize, crop, scale, subtract ``mean``, divide by ``std``, pad with zeros.

    Attributes:
        size: height and width of the input; a ``None`` follows the picture's own proportion (both: the picture's own size).
        keep_ratio_pad: resize without distortion until it fits into ``size``, and fill up with zeros at the right and the bottom.
        short: resize without distortion so that the shorter side has this length; ``size`` is then cropped from the middle.
        limit: resize without distortion so that the longer side has at most this length; for pictures without ``size``.
        multiple: sizes that follow the picture are rounded to multiples of this.
        mean, std: one number for each channel, or one for all, in the order of the channels as the model takes them.
        scale: what pixels from 0 to 255 are multiplied by.
        bgr: the model takes blue, green, red, as OpenCV reads pictures.
    """

    size: tuple[int | None, int | None] = (None, None)
    keep_ratio_pad: bool = False
    short: int | None = None
    limit: int | None = None
    multiple: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / 255
    bgr: bool = False

    def __call__(self, picture: Any, channels: int) -> Array:
        """The input ``[height, width, channels]``, float32, of a `PIL.Image.Image`."""
        picture = picture.convert("L" if channels == 1 else "RGB")
        height, width = fitted(self, picture.height, picture.width)
        pixels = np.asarray(resized(picture, height, width), dtype=np.float32).reshape(height, width, channels)
        if self.short is not None and None not in self.size:
            pixels = _cropped(pixels, *self.size)
        if self.bgr and channels == 3:
            pixels = pixels[..., ::-1]
        values = (pixels * np.float32(self.scale) - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return _padded(values, *self.size) if self.keep_ratio_pad else values


def fitted(steps: Preprocessing, height: int, width: int) -> tuple[int, int]:
    """Height and width that a picture of this size is resized to."""
    target_height, target_width = steps.size
    if steps.short is not None:
        factor = steps.short / min(height, width)
        return max(round(height * factor), target_height or 1), max(round(width * factor), target_width or 1)
    if target_height is not None and target_width is not None:
        if not steps.keep_ratio_pad:
            return target_height, target_width
        factor = min(target_height / height, target_width / width)
        return min(max(round(height * factor), 1), target_height), min(max(round(width * factor), 1), target_width)
    factor = 1.0 if steps.limit is None else min(1.0, steps.limit / max(height, width))
    if target_height is not None:
        factor = target_height / height
    elif target_width is not None:
        factor = target_width / width
    free = [max(round(size * factor / steps.multiple), 1) * steps.multiple for size in (height, width)]
    return target_height or free[0], target_width or free[1]


def resized(picture: Any, height: int, width: int) -> Any:
    """The picture in another size: bilinear between pixel centres without smoothing, as OpenCV's default, so that ranges are the same."""
    if (picture.height, picture.width) == (height, width):
        return picture
    image = pillow()
    box = (0, 0, picture.width, picture.height)
    return picture.transform((width, height), image.Transform.EXTENT, box, image.Resampling.BILINEAR)


def _cropped(pixels: Array, height: int | None, width: int | None) -> Array:
    rows, columns = height or pixels.shape[0], width or pixels.shape[1]
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _padded(values: Array, height: int | None, width: int | None) -> Array:
    missing = [(0, max((target or size) - size, 0)) for target, size in zip((height, width), values.shape[:2], strict=True)]
    return np.pad(values, [*missing, (0, 0)])
