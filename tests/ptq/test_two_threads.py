"""Two models calibrated at once, each in a thread of its own, end up as they do one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from calibration_cases import file_bytes, thresholds
from models import Net, data, randomize_norms, small_net
from paddle import nn

from ptq import ImperativePTQ, PTQConfig, calibrate
from quantizers import KLQuantizer

BATCHES = 12


def shared_net() -> nn.Layer:
    """One convolution at two places, a batch norm to fold, functional operations."""
    layers = {"conv": nn.Conv2D(3, 3, 3, padding=1), "bn": nn.BatchNorm2D(3), "last": nn.Conv2D(3, 4, 1)}
    return randomize_norms(Net(lambda m, x: nn.functional.relu(m.last(m.bn(m.conv(m.conv(x) * 5.0)))) + 1.0, **layers))


MODELS: tuple[Callable[[], nn.Layer], ...] = (small_net, shared_net)


def outcome(number: int, placement: str, start: threading.Barrier | None = None) -> tuple[bytes, dict[str, list[Any]], np.ndarray]:
    """The calibration, the thresholds and an answer of one model, prepared, traced, calibrated and converted here."""
    with _BUILDING:  # both would draw their weights from the same random numbers
        paddle.seed(number)
        model = MODELS[number]()
    if start is not None:
        start.wait()
    engine = ImperativePTQ(PTQConfig(KLQuantizer(), placement=placement))
    prepared = engine.quantize(model, fuse=True)
    found = calibrate(prepared, [data(2, 3, 8, 8, seed=index) * (number + 1) for index in range(BATCHES)], progress=False)
    with paddle.no_grad():
        answer = engine.convert(prepared)(data(4, 3, 8, 8, seed=99)).numpy()
    return file_bytes(found), thresholds(prepared), answer


_BUILDING = threading.Lock()


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_two_threads_give_what_one_after_the_other_does(placement: str) -> None:
    expected = [outcome(number, placement) for number in range(2)]
    assert expected[0][0] != expected[1][0]
    for _ in range(4):
        together = in_threads(placement)
        for number in range(2):
            assert together[number][0] == expected[number][0], f"model {number} saw something else"
            assert together[number][1] == expected[number][1]
            np.testing.assert_array_equal(together[number][2], expected[number][2])


def in_threads(placement: str) -> list[Any]:
    """The outcomes of both models, each from a thread of its own."""
    start, found = threading.Barrier(2, timeout=60), [None, None]

    def run(number: int) -> None:
        try:
            found[number] = outcome(number, placement, start)  # type: ignore[call-overload]
        except BaseException as error:
            found[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    errors = [item for item in found if isinstance(item, BaseException)]
    # who waits for a thread that crashed gets a broken barrier: the crash itself is to be seen
    errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
    if errors:
        raise errors[0]
    assert None not in found
    return found
