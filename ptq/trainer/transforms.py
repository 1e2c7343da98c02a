"""What is done to a picture and its labels before they are trained on or judged; chance comes from the generator that is passed.

A picture is float32 ``[height, width, 3]`` in 0..255, its labels uint8 ``[height, width]``, 255 where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError

from ..data.pillow import pillow

__all__ = ["TRANSFORMS", "Labels", "Picture", "Transform"]

Picture = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Transform = Callable[[Picture, Labels, np.random.Generator], tuple[Picture, Labels]]


def _resized(picture: Picture, labels: Labels, width: int, height: int) -> tuple[Picture, Labels]:
    image = pillow()
    size, smooth = (width, height), image.Resampling.BILINEAR
    planes = [np.asarray(image.fromarray(picture[..., plane]).resize(size, smooth)) for plane in range(3)]
    nearest = image.fromarray(labels).resize(size, image.Resampling.NEAREST)
    return np.stack(planes, axis=-1).astype(np.float32), np.asarray(nearest, dtype=np.uint8)


class Resize:
    """To ``target_size``, ``[width, height]``."""

    def __init__(self, target_size: Sequence[int] = (512, 512)) -> None:
        self.width, self.height = _pair("target_size", target_size)

    def __call__(self, picture: Picture, labels: Labels, _random: np.random.Generator) -> tuple[Picture, Labels]:
        if picture.shape[:2] == (self.height, self.width):
            return picture, labels
        return _resized(picture, labels, self.width, self.height)


class ResizeStepScaling:
    """By a factor drawn from ``min_scale_factor`` to ``max_scale_factor`` in steps of ``scale_step_size``; 0 for any between them."""

    def __init__(self, min_scale_factor: float = 0.75, max_scale_factor: float = 1.25, scale_step_size: float = 0.25) -> None:
        if not 0 < min_scale_factor <= max_scale_factor:
            raise ConfigError(f"scale factors must be positive and in order, got {min_scale_factor} and {max_scale_factor}")
        self.low, self.high, self.step = min_scale_factor, max_scale_factor, scale_step_size

    def __call__(self, picture: Picture, labels: Labels, random: np.random.Generator) -> tuple[Picture, Labels]:
        factor: float
        if self.step:
            factor = self.low + self.step * random.integers(0, round((self.high - self.low) / self.step) + 1)
        else:
            factor = random.uniform(self.low, self.high)
        height, width = (max(1, round(size * factor)) for size in labels.shape)
        return _resized(picture, labels, width, height)


class RandomPaddingCrop:
    """A part of ``crop_size``, ``[width, height]``; what is smaller is padded by the means and by no labels."""

    def __init__(self, crop_size: Sequence[int] = (512, 512), im_padding_value: Any = 127.5, label_padding_value: int = 255) -> None:
        self.width, self.height = _pair("crop_size", crop_size)
        self.padding, self.no_label = np.asarray(im_padding_value, dtype=np.float32), label_padding_value

    def __call__(self, picture: Picture, labels: Labels, random: np.random.Generator) -> tuple[Picture, Labels]:
        height, width = labels.shape
        tall, wide = max(height, self.height), max(width, self.width)
        if (tall, wide) != (height, width):
            around = np.empty((tall, wide, 3), dtype=np.float32)
            around[...] = self.padding
            around[:height, :width] = picture
            unknown = np.full((tall, wide), self.no_label, dtype=np.uint8)
            unknown[:height, :width] = labels
            picture, labels = around, unknown
        top, left = random.integers(0, tall - self.height + 1), random.integers(0, wide - self.width + 1)
        place = slice(top, top + self.height), slice(left, left + self.width)
        return picture[place], labels[place]


class RandomHorizontalFlip:
    """Left and right exchanged with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        self.probability = prob

    def __call__(self, picture: Picture, labels: Labels, random: np.random.Generator) -> tuple[Picture, Labels]:
        return (picture[:, ::-1], labels[:, ::-1]) if random.random() < self.probability else (picture, labels)


class RandomDistort:
    """Brightness, contrast and saturation each changed by a factor of at most 1 plus or minus its range."""

    def __init__(self, brightness_range: float = 0.4, contrast_range: float = 0.4, saturation_range: float = 0.4) -> None:
        self.ranges = brightness_range, contrast_range, saturation_range

    def __call__(self, picture: Picture, labels: Labels, random: np.random.Generator) -> tuple[Picture, Labels]:
        bright, contrast, saturation = (np.float32(random.uniform(1 - size, 1 + size)) for size in self.ranges)
        picture = picture * bright
        picture = (picture - picture.mean()) * contrast + picture.mean()
        gray = picture.mean(axis=-1, keepdims=True)
        return np.clip((picture - gray) * saturation + gray, 0, 255).astype(np.float32), labels


class Normalize:
    """``(picture / 255 - mean) / std``, by channel."""

    def __init__(self, mean: Sequence[float] = (0.5, 0.5, 0.5), std: Sequence[float] = (0.5, 0.5, 0.5)) -> None:
        self.mean, self.std = np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
        if self.mean.size not in (1, 3) or self.std.size not in (1, 3) or (self.std == 0).any():
            raise ConfigError(f"mean and std are 3 numbers each, std not 0, got {mean} and {std}")

    def __call__(self, picture: Picture, labels: Labels, _random: np.random.Generator) -> tuple[Picture, Labels]:
        return ((picture / np.float32(255) - self.mean) / self.std).astype(np.float32), labels


def _pair(name: str, given: Any) -> tuple[int, int]:
    if isinstance(given, (list, tuple)) and len(given) == 2 and all(isinstance(size, int) and size > 0 for size in given):
        return int(given[0]), int(given[1])
    raise ConfigError(f"{name} must be [width, height], got {given!r}")


TRANSFORMS: Mapping[str, Callable[..., Transform]] = {
    kind.__name__: kind for kind in (Resize, ResizeStepScaling, RandomPaddingCrop, RandomHorizontalFlip, RandomDistort, Normalize)
}
