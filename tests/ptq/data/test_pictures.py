"""Folders of pictures: order, batches, what is skipped and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from saved_nets import pictures

from ptq.data.pictures import PictureFolder
from ptq.data.preprocessing import Preprocessing
from ptq.data.takes import Takes
from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, QuantizationWarning

FREE = Takes("pic", (None, 3, None, None), "float32")


def folder(path: Path, takes: Takes = FREE, batch: int = 4, samples: int = 100, asked: int | None = None, **steps: Any) -> PictureFolder:
    return PictureFolder(path, [takes], Preprocessing(**steps), batch, samples, asked)


def test_batches_hold_the_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    pictures(tmp_path, 10)
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    data = folder(tmp_path, scale=1.0)
    batches = list(data)
    assert [batch["pic"].shape for batch in batches] == [(4, 3, 20, 24), (4, 3, 20, 24), (2, 3, 20, 24)]
    assert len(data) == 3
    expected = [np.asarray(Image.open(file)).transpose(2, 0, 1) for file in sorted(tmp_path.glob("*.png"))]
    np.testing.assert_array_equal(np.concatenate([batch["pic"] for batch in batches]), expected)


def test_fewer_samples_are_spread_over_the_folder(tmp_path: Path) -> None:
    pictures(tmp_path, 10)
    chosen = np.concatenate([batch["pic"] for batch in folder(tmp_path, samples=5, scale=1.0)])
    expected = [np.asarray(Image.open(tmp_path / f"{number:03}.png")).transpose(2, 0, 1) for number in (0, 2, 4, 6, 8)]
    np.testing.assert_array_equal(chosen, expected)


def test_folders_below_are_searched_where_there_are_no_pictures(tmp_path: Path) -> None:
    pictures(tmp_path / "cats", 2)
    pictures(tmp_path / "dogs", 3, ending="jpg")
    assert sum(len(batch["pic"]) for batch in folder(tmp_path)) == 5


def test_pictures_of_different_sizes_do_not_share_a_batch(tmp_path: Path) -> None:
    pictures(tmp_path, 3)
    Image.new("RGB", (9, 7)).save(tmp_path / "zzz.png")
    assert [batch["pic"].shape for batch in folder(tmp_path)] == [(3, 3, 20, 24), (1, 3, 7, 9)]
    assert [batch["pic"].shape for batch in folder(tmp_path, size=(8, 8))] == [(4, 3, 8, 8)]


def test_a_fixed_batch_leaves_a_rest_out(tmp_path: Path) -> None:
    pictures(tmp_path, 6)
    takes = Takes("pic", (4, 3, 8, 10), "float32")
    assert [batch["pic"].shape for batch in folder(tmp_path, takes)] == [(4, 3, 8, 10)]
    with pytest.raises(NoCalibrationDataError, match="6 pictures make no batch of 7"):
        list(folder(tmp_path, Takes("pic", (7, 3, 8, 10), "float32"), batch=7))


def test_channels_may_come_last(tmp_path: Path) -> None:
    pictures(tmp_path, 2)
    (batch,) = folder(tmp_path, Takes("pic", (None, 8, 10, 3), "float32"))
    assert batch["pic"].shape == (2, 8, 10, 3)


def test_pictures_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    (batch,) = folder(tmp_path, scale=1.0)
    np.testing.assert_array_equal(batch["pic"][0], np.rot90(pixels, -1).transpose(2, 0, 1))


def spoil(file: Path, how: str) -> None:
    content = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"no picture", "cut": content[: len(content) // 2]}[how])


@pytest.mark.parametrize("how", ["empty", "text", "cut"])
def test_an_unreadable_picture_is_named_and_skipped(tmp_path: Path, how: str) -> None:
    pictures(tmp_path, 12)
    spoil(tmp_path / "003.png", how)
    with pytest.warns(QuantizationWarning, match=r"1 of 12 pictures cannot be read and were skipped: 003\.png"):
        batches = list(folder(tmp_path))
    assert sum(len(batch["pic"]) for batch in batches) == 11


def test_more_than_a_tenth_unreadable_is_an_error(tmp_path: Path) -> None:
    pictures(tmp_path, 19)
    for number in (4, 9):
        spoil(tmp_path / f"{number:03}.png", "text")
    with pytest.raises(CalibrationError, match=r"2 of 19 pictures cannot be read, more than 10%: 004\.png .*; 009\.png"):
        list(folder(tmp_path))


def test_exactly_a_tenth_is_skipped(tmp_path: Path) -> None:
    pictures(tmp_path, 20)
    for number in (4, 9):
        spoil(tmp_path / f"{number:03}.png", "text")
    with pytest.warns(QuantizationWarning, match="2 of 20"):
        assert sum(len(batch["pic"]) for batch in folder(tmp_path)) == 18


def test_fewer_than_asked_is_warned_of(tmp_path: Path) -> None:
    pictures(tmp_path, 3)
    with pytest.warns(QuantizationWarning, match="gives 3 samples, fewer than the 8"):
        list(folder(tmp_path, samples=8, asked=8))


@pytest.mark.parametrize(
    ("takes", "steps", "says"),
    [
        (Takes("x", (None, 10), "float32"), {}, "float pictures of 1 or 3 channels; this one takes x float32 [?, 10]"),
        (Takes("x", (None, 4, 8, 8), "float32"), {}, "this one takes x float32 [?, 4, 8, 8]"),
        (Takes("x", (None, 3, 8, 8), "int64"), {}, "this one takes x int64"),
        (Takes("x", (None, 3, 8, 8), "float32"), {"size": (9, 8)}, "height 9, but the model takes float32 [?, 3, 8, 8]"),
        (FREE, {"mean": (0.1, 0.2)}, "mean has 2 numbers"),
        (Takes("x", (None, 1, 8, 8), "float32"), {"std": (1.0, 1.0, 1.0)}, "std has 3 numbers"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_at_once(tmp_path: Path, takes: Takes, steps: dict[str, Any], says: str) -> None:
    pictures(tmp_path, 2)
    with pytest.raises(ConfigError, match=re.escape(says)):
        folder(tmp_path, takes, **steps)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(NoCalibrationDataError, match="holds no pictures"):
        folder(tmp_path)
