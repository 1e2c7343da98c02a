"""Grids with tiny steps, as nets of random weights have them in their last layers, in Paddle Inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from inference_cases import Grid, answers, exported
from models import data
from paddle import nn

from ptq.export.inference.artifact import check_inference


class TinyOutput(nn.Layer):
    """An int8 product whose result lies on a grid of the given step; the weights are small enough for processors without VNNI."""

    def __init__(self, step: float, zero_point: int) -> None:
        super().__init__()
        random = np.random.default_rng(0)
        self.register_buffer("matrix", paddle.to_tensor(random.integers(-63, 64, (64, 20)).astype("int8")))
        self.register_buffer("matrix_scale", paddle.to_tensor((random.uniform(1, 2, (1, 20)) * step).astype("float32")))
        self.first, self.last = Grid(0.01, 0), Grid(step, zero_point)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.last(self.first(x) @ (self.matrix.astype("float32") * self.matrix_scale))


TINY = "the OpenVINO that Paddle bundles loses the zero point of a grid whose step is below 9e-9, and the exporter writes such grids"


def is_as_the_model(folder: Path, step: float, zero_point: int) -> bool:
    x = data(16, 64).abs()
    (expected,) = exported(TinyOutput(step, zero_point), folder / "m", x)
    assert np.ptp(expected) > 200 * step
    (answer,) = answers(folder / "m", [x])
    return bool(np.abs(answer.astype(np.float64) - expected).max() < 0.5 * step)


@pytest.mark.parametrize("zero_point", [122, 60])
def test_grids_of_usual_steps_are_exact(tmp_path: Path, zero_point: int) -> None:
    assert is_as_the_model(tmp_path, 1e-6, zero_point)


@pytest.mark.parametrize("step", [8e-9, 1e-9, 1e-12])
@pytest.mark.parametrize("zero_point", [122, 60])
@pytest.mark.xfail(strict=True, reason=TINY)
def test_grids_of_tiny_steps_are_exact(tmp_path: Path, zero_point: int, step: float) -> None:
    assert is_as_the_model(tmp_path, step, zero_point)


@pytest.mark.xfail(strict=True, reason=TINY)
def test_a_net_with_a_tiny_output_is_kept(tmp_path: Path) -> None:
    """Whoever mends it by rewriting, or by saying that it is the runtime's, sees this pass or changes it."""
    x = data(16, 64).abs()
    (expected,) = exported(TinyOutput(1.25e-9, 122), tmp_path / "m", x)
    (report,) = check_inference(str(tmp_path / "m"), [x.numpy()], [expected])
    assert report.int8_share == 1.0
