"""Pictures become inputs as a plain NumPy computation says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptq.data.preprocessing import Preprocessing, fitted


def picture(height: int, width: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels), pixels


def bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Between pixel centres, edges repeated: what OpenCV computes by default."""
    rows = np.clip((np.arange(height) + 0.5) * pixels.shape[0] / height - 0.5, 0, pixels.shape[0] - 1)
    columns = np.clip((np.arange(width) + 0.5) * pixels.shape[1] / width - 0.5, 0, pixels.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom, right = np.minimum(top + 1, pixels.shape[0] - 1), np.minimum(left + 1, pixels.shape[1] - 1)
    y, x = (rows - top)[:, None, None], (columns - left)[None, :, None]
    p = pixels.astype(np.float64)
    above = p[top][:, left] * (1 - x) + p[top][:, right] * x
    below = p[bottom][:, left] * (1 - x) + p[bottom][:, right] * x
    return above * (1 - y) + below * y


@pytest.mark.parametrize("size", [(10, 20), (33, 17), (48, 48), (7, 90)])
def test_resizing_is_bilinear_between_pixel_centres(size: tuple[int, int]) -> None:
    image, pixels = picture(30, 40)
    found = Preprocessing(size=size, scale=1.0)(image, 3)
    assert np.abs(found - bilinear(pixels, *size)).max() <= 1.01  # Pillow rounds to whole numbers


def test_numbers_are_scaled_then_normalized_channel_by_channel() -> None:
    image, pixels = picture(6, 5)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = Preprocessing(mean=mean, std=std)(image, 3)
    np.testing.assert_allclose(found, (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_bgr_turns_the_channels_before_the_mean_is_subtracted() -> None:
    image, pixels = picture(4, 4)
    found = Preprocessing(bgr=True, mean=(0.1, 0.2, 0.3))(image, 3)
    np.testing.assert_allclose(found, pixels[..., ::-1] / 255 - np.array([0.1, 0.2, 0.3]), atol=1e-6)


def test_padding_keeps_the_ratio_and_adds_zeros_after_normalization() -> None:
    image, _ = picture(10, 40)
    found = Preprocessing(size=(48, 100), keep_ratio_pad=True, mean=(0.5,), std=(0.5,))(image, 3)
    assert found.shape == (48, 100, 3)
    assert not found[25:].any()
    assert found[:25].any(axis=(0, 2)).all()


def test_a_crop_is_taken_from_the_middle() -> None:
    image, pixels = picture(8, 12)
    found = Preprocessing(short=8, size=(4, 6), scale=1.0)(image, 3)
    np.testing.assert_array_equal(found, pixels[2:6, 3:9])


def test_grey_models_get_one_channel() -> None:
    image, _ = picture(8, 12)
    found = Preprocessing(scale=1.0)(image, 1)
    np.testing.assert_array_equal(found[..., 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (Preprocessing(), (300, 400)),
        (Preprocessing(multiple=32), (288, 384)),
        (Preprocessing(limit=200, multiple=32), (160, 192)),
        (Preprocessing(limit=960), (300, 400)),
        (Preprocessing(size=(48, None)), (48, 64)),
        (Preprocessing(size=(None, 200)), (150, 200)),
        (Preprocessing(size=(80, 160)), (80, 160)),
        (Preprocessing(size=(80, 160), keep_ratio_pad=True), (80, 107)),
        (Preprocessing(short=150), (150, 200)),
    ],
)
def test_sizes(steps: Preprocessing, expected: tuple[int, int]) -> None:
    assert fitted(steps, 300, 400) == expected
