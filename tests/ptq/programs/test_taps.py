"""Results of compute operations, biases and batch norms included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
from models import data
from saved_nets import TwoInputs, save_net

import ptq
from ptq.programs.taps import compute_taps, tapped


def test_taps_are_what_the_layers_compute_with_their_batch_norms(tmp_path: Path) -> None:
    net = save_net(tmp_path / "net")
    program = ptq.load_program(tmp_path / "net")
    taps = compute_taps(program)
    x = data(2, 3, 12, 12)
    with paddle.no_grad():
        first = net.bn1(net.conv1(x))
        second = net.block[1](net.block[0](paddle.nn.functional.relu(first)))
        expected = [first, second, net(x)]
        answers = tapped(program, taps)(x)
        assert len(taps) == len(answers) == 3
        for answer, right in zip(answers, expected, strict=True):
            np.testing.assert_allclose(answer.numpy(), right.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(program(x).numpy(), net(x).numpy(), rtol=1e-5, atol=1e-5)


def test_one_tap_is_a_list_too(tmp_path: Path) -> None:
    save_net(tmp_path / "net", net=TwoInputs())
    program = ptq.load_program(tmp_path / "net")
    answers = tapped(program, compute_taps(program)[:1])(data(4, 6), paddle.to_tensor([0, 1, 2, 3]))
    assert isinstance(answers, list)
    assert answers[0].shape == [4, 8]
