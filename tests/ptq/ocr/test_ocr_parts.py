"""The parts of the OCR demonstration that need no OCR program."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ptq import cli
from ptq.ocr import client
from ptq.ocr.client import Line
from ptq.ocr.compare import Agreement, agreement, overlap, pairs
from ptq.ocr.demo import OcrReport
from ptq.ocr.pictures import LINES, pictures
from ptq.ocr.sensitive import Cost, costs, worst_layers
from ptq.ocr.texts import CALIBRATION, COMPARISON
from ptq.util.extras import MissingExtraError
from quantizers.errors import ConfigError


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray[Any, Any]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def test_the_texts_are_apart_and_enough() -> None:
    calibration, comparison = ([line for line in text.splitlines() if line] for text in (CALIBRATION, COMPARISON))
    assert not set(calibration) & set(comparison)
    assert len(set(comparison)) >= 150
    assert len(comparison) / LINES >= 20
    assert not any(line != line.strip() for line in [*calibration, *comparison])


def test_pictures_are_the_same_each_time() -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("font_source_serif_pro")
    text = "\n".join(f"Line number {number}" for number in range(LINES + 1))
    first, again, other = pictures(text, 5), pictures(text, 5), pictures(text, 6)
    assert [picture.dtype for picture in first] == [np.uint8] * 2
    assert all(picture.shape[1:] == (760, 3) for picture in first)
    assert first[0].shape[0] > 3 * first[1].shape[0]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    with pytest.raises(ConfigError, match="without lines"):
        pictures("\n \n", 5)


class TestComparison:
    pytest.importorskip("cv2")

    @pytest.mark.parametrize(
        ("other", "expected"),
        [(box(0, 0, 10, 4), 1.0), (box(5, 0, 15, 4), 1 / 3), (box(0, 2, 10, 4), 0.5), (box(20, 0, 30, 4), 0.0), (box(3, 3, 3, 3), 0.0)],
    )
    def test_overlap(self, other: np.ndarray[Any, Any], expected: float) -> None:
        assert overlap(box(0, 0, 10, 4), other) == pytest.approx(expected)
        assert overlap(other, box(0, 0, 10, 4)) == pytest.approx(expected)

    def test_each_line_has_one_partner_the_nearest(self) -> None:
        first = [Line(box(0, 0, 10, 4), "a"), Line(box(0, 10, 10, 14), "b")]
        second = [Line(box(0, 0, 10, 5), "x"), Line(box(0, 0, 10, 4), "a"), Line(box(0, 10, 10, 14), "c")]
        assert [(a.text, b.text) for a, b in pairs(first, second)] == [("b", "c"), ("a", "a")]
        found = agreement(first, second)
        assert found == Agreement(2, 3, 2, 1)
        assert found.box_f1 == pytest.approx(0.8)
        assert found.lines_alike == pytest.approx(0.5)
        assert found + Agreement(1, 1, 0, 0) == Agreement(3, 4, 2, 1)

    def test_nothing_read(self) -> None:
        assert agreement([], []).box_f1 == 1.0
        assert agreement([Line(box(0, 0, 1, 1), "a")], []).lines_alike == 0.0


class TestSensitiveLayers:
    def net(self) -> nn.Layer:
        net = nn.Sequential(
            nn.Conv2D(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2D(4, 4, 3, padding=1, groups=4), nn.Flatten(), nn.Linear(64, 3)
        )
        net.eval()
        return net

    def test_costs(self) -> None:
        net, x = self.net(), np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype("float32")
        before = net(paddle.to_tensor(x)).numpy()
        found = costs(net, x)
        assert {name: cost.macs for name, cost in found.items()} == {"0": 3 * 16 * 4 * 18, "2": 3 * 16 * 4 * 9, "4": 3 * 64 * 3}
        assert all(cost.noise > 0 for cost in found.values())
        np.testing.assert_array_equal(net(paddle.to_tensor(x)).numpy(), before)

    def test_a_range_that_one_value_sets_costs_most(self) -> None:
        net, x = self.net(), np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype("float32")
        x[0, 0, 0, 0] = 300.0
        found = costs(net, x)
        assert max(found, key=lambda name: found[name].noise) == "0"

    def test_the_worst_are_chosen_within_the_share(self) -> None:
        found = {"a": Cost(4.0, 40.0), "b": Cost(3.0, 10.0), "c": Cost(1.0, 30.0), "d": Cost(0.1, 20.0)}
        assert worst_layers(found, 0.1) == ["b"]
        assert worst_layers(found, 0.5) == ["b", "a"]
        assert worst_layers(found, 0.45) == ["b", "c"]
        assert worst_layers(found, 0.0) == []


def test_newer_pythons_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    with pytest.raises(MissingExtraError, match=r"RapidOCR has no release for Python 3\.13.*3\.12 or older"):
        client.programs()
    assert cli.main(["ocr", "--output", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("ptq: RapidOCR has no release for Python 3.13")


def test_texts_side_by_side() -> None:
    report = OcrReport({}, {}, Agreement(2, 1, 1, 1), 2, 2, 1, 3.0, 1.5, 60.0, 1, True, (("same", "same"), ("lost", "")))
    assert report.side_by_side() == "same    same\nlost  |"
    table = report.table()
    assert "F1 66.7%" in table
    assert "50.0% of the float lines" in table
