"""The programs of PP-OCRv4, as they are published, answer as in Paddle's own predictor."""

from __future__ import annotations

import numpy as np
import pytest
from paddle import nn
from program_nets import answers, picture

import ptq
from benchmarks.programs import OCR, ocr_folder, predict, why_no_ocr

pytestmark = pytest.mark.skipif(bool(why_no_ocr()), reason=why_no_ocr() or "the OCR programs are here")
SHAPES = [(name, shape) for name, (_, shapes) in OCR.items() for shape in shapes]


@pytest.mark.parametrize(("name", "shape"), SHAPES)
def test_answers_as_the_predictor(name: str, shape: tuple[int, ...]) -> None:
    x = picture(*shape)
    expected = predict(ocr_folder(name) / "inference.pdmodel", [x])[0]
    largest = np.abs(expected).max()
    plain = ptq.load_program(ocr_folder(name), fold_scales=False)
    np.testing.assert_allclose(answers(plain, x)[0], expected, atol=1e-5 * largest, rtol=0)
    # with scales in the weights: the detection net makes 2e-5 of rounding errors at its input as well
    np.testing.assert_allclose(answers(ptq.load_program(ocr_folder(name)), x)[0], expected, atol=1e-4 * largest, rtol=0)


def test_detection_is_made_of_layers() -> None:
    layer = ptq.load_program(ocr_folder("PP-OCRv4 detection"))
    kinds = [type(inner) for inner in layer.sublayers()]
    assert kinds.count(nn.Conv2D) == 62
    assert kinds.count(nn.Conv2DTranspose) == 2
    assert kinds.count(nn.Hardswish) == 24
    scales = [step for step in layer._steps if not step[0] and step[1].function == "multiply"]
    assert len(scales) == 11  # the gates, and one learned scale whose reader is a gate
