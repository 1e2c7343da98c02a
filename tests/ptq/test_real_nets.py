"""Real trained nets on real data: what the default settings must reach (the table of the project's engine issue)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import pytest
from fresh import answers_of
from models import relative
from paddle import nn
from paddle.static import InputSpec

from benchmarks.metrics import agreement, bits_per_byte, map_f1, softmax, sqnr, top1
from benchmarks.real_nets import NETS, RealNet, batches, outputs, why_absent
from ptq import ImperativePTQ
from ptq.layers import QuantizedLayer

pytestmark = pytest.mark.skipif(bool(why_absent()), reason=why_absent() or "present")


@dataclass
class Outcome:
    """A net's float and int8 answers to the same inputs."""

    net: RealNet
    quantized: nn.Layer
    expected: np.ndarray
    answer: np.ndarray
    labels: np.ndarray | None


@functools.cache
def _quantized(name: str) -> tuple[RealNet, nn.Layer]:
    """The net and its quantized model, default settings, batch norms folded."""
    net = NETS[name]()
    engine = ImperativePTQ()
    model = engine.quantize(net.model, fuse=True)
    with paddle.no_grad():
        for batch in batches(net.calibration, net.batch):
            model(batch)
    return net, engine.convert(model)


def _outcome(name: str, items: int | None = None) -> Outcome:
    """The outcome on the first ``items`` of the dev part, or on all of it."""
    net, quantized = _quantized(name)
    dev = net.dev[:items]
    labels = None if net.labels is None else net.labels[:items]
    return Outcome(net, quantized, outputs(net.model, dev), outputs(quantized, dev), labels)


def _resnet20(outcome: Outcome) -> None:
    assert top1(outcome.answer, outcome.labels) >= top1(outcome.expected, outcome.labels) - 0.2
    assert sqnr(outcome.expected, outcome.answer) >= 34


def _mobilenet_vww(outcome: Outcome) -> None:
    assert agreement(outcome.expected, outcome.answer) >= 99
    assert sqnr(softmax(outcome.expected), softmax(outcome.answer)) >= 29.3


def _ppocr_cls(outcome: Outcome) -> None:
    assert sqnr(outcome.expected, outcome.answer) >= 22.9


def _ppocr_det(outcome: Outcome) -> None:
    assert sqnr(outcome.expected, outcome.answer) >= 12.7
    assert map_f1(outcome.expected, outcome.answer) >= 96.3


def _lm_python(outcome: Outcome) -> None:
    assert bits_per_byte(outcome.answer, outcome.labels) <= bits_per_byte(outcome.expected, outcome.labels) + 0.006


LIMITS: dict[str, Callable[[Outcome], None]] = {
    "resnet20": _resnet20,
    "mobilenet_vww": _mobilenet_vww,
    "ppocr_cls": _ppocr_cls,
    "ppocr_det": _ppocr_det,
    "lm_python": _lm_python,
}
# Layers that must be quantized, so that a net left in float cannot pass.
QUANTIZED = {"resnet20": 20, "mobilenet_vww": 28, "ppocr_cls": 54, "ppocr_det": 58, "lm_python": 20}
NAMES = [pytest.param(name, marks=() if name in ("resnet20", "mobilenet_vww") else pytest.mark.slow) for name in LIMITS]


def test_there_is_a_limit_for_every_net() -> None:
    assert LIMITS.keys() == NETS.keys()


def test_resnet20_on_a_part() -> None:
    """The quick form: the figures of so few images scatter, so the limits are wider."""
    outcome = _outcome("resnet20", 300)
    assert not np.array_equal(outcome.expected, outcome.answer)
    assert sqnr(outcome.expected, outcome.answer) >= 33
    assert agreement(outcome.expected, outcome.answer) >= 98.5


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "mobilenet_vww" else pytest.mark.slow) for name in LIMITS])
def test_limits(name: str) -> None:
    LIMITS[name](_outcome(name))


@pytest.mark.parametrize("name", NAMES)
def test_compute_layers_are_quantized_and_batch_norms_folded(name: str) -> None:
    net, quantized = _quantized(name)
    layers = quantized.sublayers()
    compute = (nn.Conv2D, nn.Conv2DTranspose, nn.Linear, nn.Embedding)
    assert all(isinstance(layer, QuantizedLayer) for layer in layers if isinstance(layer, compute))
    assert sum(isinstance(layer, QuantizedLayer) for layer in layers) == sum(isinstance(layer, compute) for layer in net.model.sublayers())
    assert sum(isinstance(layer, QuantizedLayer) for layer in layers) == QUANTIZED[name]
    left = [layer for layer in layers if isinstance(layer, (nn.BatchNorm, nn.BatchNorm2D))]
    assert len(left) == (1 if name == "ppocr_det" else 0)  # there one follows an addition


@pytest.mark.parametrize("name", NAMES)
def test_reloads_exactly(name: str, tmp_path: Path) -> None:
    net, quantized = _quantized(name)
    x = paddle.to_tensor(net.dev[:5])
    paddle.jit.save(quantized, str(tmp_path / "model"), input_spec=[InputSpec([None, *x.shape[1:]], x.dtype)])
    with paddle.no_grad():
        expected = quantized(x)
    assert relative(answers_of(tmp_path / "model", x, tmp_path), expected) <= 1e-5
