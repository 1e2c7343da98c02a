"""Every family of `paddle.vision.models`, a transformer and recurrent nets, in both formats, answer as in Paddle's own predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from program_nets import picture

import ptq
from benchmarks.programs import predict, recurrent, save_family, save_legacy, save_net
from benchmarks.zoo import FAMILIES, example


def _check(program: Path, inputs: list[np.ndarray]) -> None:
    layer = ptq.load_program(program)
    for x in inputs:
        expected = predict(program, [x])
        with paddle.no_grad():
            got = paddle.utils.flatten(layer(paddle.to_tensor(x)))
        assert len(got) == len(expected)
        for have, want in zip(got, expected, strict=True):
            np.testing.assert_allclose(have.numpy(), want, atol=1e-5 * np.abs(want).max(), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_new_format(family: str, tmp_path: Path) -> None:
    save_family(family, tmp_path / "m")
    _check(tmp_path / "m.json", [example(family, batch=batch, seed=5).numpy() for batch in (1, 3)])


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "transformer_encoder"])
def test_legacy_format(family: str, tmp_path: Path) -> None:
    # a transformer cannot be saved so by Paddle 3.3: matmul takes values of the new representation only
    assert not save_legacy(family, tmp_path / "m")
    _check(tmp_path / "m.pdmodel", [example(family, batch=batch, seed=5).numpy() for batch in (1, 3)])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent(kind: str, tmp_path: Path) -> None:
    save_net(recurrent(kind), tmp_path / "m", [None, None, 8])
    _check(tmp_path / "m.json", [picture(1, 7, 8), picture(5, 3, 8)])
