"""Distillation without labels: the quantized model learns to answer as the float one does, at every layer and at its outputs.

The outputs alone would be fitted too well by a few hundred samples; the layers' results hold the others.  What was learnt is kept as it
was when the held-back samples liked it most.  With all layers at once this is distillation; with windows of a few layers, one after the
other, block reconstruction (Li, Gong, Tan, Yang, Hu, Zhang, Yu, Wang, Gu: "BRECQ", 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import ConfigError

from ..calibration.seen import Sample
from ..util.modes import eval_mode
from ..util.nests import tensors_in
from .samples import pieces
from .straight import Learner
from .tape import Tapes
from .units import Unit
from .workbench import Workbench

__all__ = ["DistillSettings", "distill"]

QDROP = 0.5
RATES = {"weights": 0.01, "scales": 0.001, "biases": 0.002, "inputs": 0.002}


@dataclass(frozen=True)
class DistillSettings:
    """How a model is distilled.

    Args:
        epochs: passes over the samples to fit on, for each window.
        window: how many layers learn together, 0 for all of them.
        kinds: what learns, see `straight.Learner`.
        rate: multiplies all learning rates.
        drop: see `straight.Learner`; half with windows where a grid has fewer than 8 bits, else none, when ``None``.
        batch: samples a step.
        outputs: weight of the model's outputs beside the mean of the layers' results.

    Raises:
        ConfigError: a value is out of its range.
    """

    epochs: int = 4
    window: int = 0
    kinds: tuple[str, ...] = ("weights", "scales", "biases", "inputs")
    rate: float = 1.0
    drop: float | None = None
    batch: int = 32
    outputs: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        if not self.kinds or not set(self.kinds) <= set(RATES):
            raise ConfigError(f"kinds must be some of {', '.join(RATES)}, got {self.kinds!r}")
        if self.epochs < 1 or self.window < 0 or self.batch < 1 or not self.rate > 0 or not 0 <= (self.drop or 0.0) < 1:
            raise ConfigError(f"settings of a distillation out of range: {self}")


def distill(bench: Workbench, settings: DistillSettings) -> None:
    """Distils the float model into the workbench's model, in place; what the held-back samples do not confirm is undone."""
    bench.settle()
    units = bench.units
    size = settings.window or max(len(units), 1)
    starts = range(0, len(units), size)
    tapes = Tapes(bench.memory // 4)
    for number, start in enumerate(starts):
        before, score = bench.snapshot(), bench.score()
        _Distillation(bench, list(units[start : start + size]), settings, tapes).run(before, score, (number, len(starts)))


class _Distillation:
    def __init__(self, bench: Workbench, units: list[Unit], settings: DistillSettings, tapes: Tapes) -> None:
        self.bench, self.settings, self.tapes = bench, settings, tapes
        last = bench.units.index(units[-1]) + 1
        # of a window only what follows it tells, and what comes behind that need not be computed
        self.taps = [name for unit in bench.units[last - len(units) : last + len(units)] for name in unit.names]
        self.is_whole = last + len(units) >= len(bench.units)
        self.samples = [part for sample in bench.fit for part in pieces(sample, settings.batch)]
        self.power = self._powers()
        typical = {name: float(np.sqrt(power)) for name, power in self.power.items()}
        rates = {kind: rate * settings.rate for kind, rate in RATES.items()}
        self.learner = Learner(bench, units, settings.kinds, rates, typical, self._drop())

    def _drop(self) -> float:
        if self.settings.drop is not None or not self.settings.window:
            return self.settings.drop or 0.0
        narrow = (twin.input_qparams is not None and twin.input_qparams.num_bits < 8 for twin in self.bench.twins.values())
        return QDROP if any(narrow) else 0.0

    def run(self, before: Any, score: float, place: tuple[int, int]) -> None:
        """Learns epoch by epoch and leaves the workbench in the best state that was seen."""
        best, number = before, 0
        total = self.settings.epochs * len(self.samples)
        random = np.random.default_rng(self.bench.seed)
        paddle.seed(self.bench.seed)
        for epoch in range(self.settings.epochs):
            self.bench.report("distillation", place[0] * self.settings.epochs + epoch, place[1] * self.settings.epochs)
            for index in random.permutation(len(self.samples)):
                number += 1
                self._step(int(index), number, 0.5 * (1 + np.cos(np.pi * (number - 1) / total)))
            self.learner.write()
            found = self.bench.score()
            if found > score:
                best, score = self.bench.snapshot(), found
            self.bench.restore(before)
        self.bench.restore(best)

    def _step(self, index: int, number: int, factor: float) -> None:
        sample = self.samples[index]
        wanted, expected = self._float(sample)
        self.learner.begin()
        args, kwargs = sample.call()
        found: dict[str, list[paddle.Tensor]] = {}
        twins = {name: self.learner.twins[name] for name in self.taps}
        count = None if self.is_whole else sum(map(len, wanted.values()))
        changing = self.learner.changing
        tape = self.tapes.playing(index, self.learner.twins, changing)
        with eval_mode(self.learner.model), _results(twins, found, count), tape:
            answer = _ended(self.learner.model, args, kwargs)
        loss = self._loss(found, wanted, answer, expected)
        tensors = self.learner.tensors
        self.learner.step(list(paddle.grad(loss, tensors, allow_unused=True)), number, factor)

    def _loss(self, found: Any, wanted: Any, answers: Sequence[paddle.Tensor], expected: Sequence[paddle.Tensor]) -> paddle.Tensor:
        terms = []
        for name, results in found.items():
            in_own_units = self.bench.twins[name].in_own_units
            for result, target in zip(results, wanted[name], strict=True):
                terms.append(((result - in_own_units(target)) ** 2).mean() / max(self.power[name], 1e-12))
        ends = [((a - b) ** 2).mean() / ((b**2).mean() + 1e-12) for a, b in zip(answers, expected, strict=True)]
        inner = sum(terms) / max(len(terms), 1)
        return inner + self.settings.outputs * sum(ends) / max(len(ends), 1)

    def _float(self, sample: Sample) -> tuple[dict[str, list[paddle.Tensor]], list[paddle.Tensor]]:
        found: dict[str, list[paddle.Tensor]] = {}
        args, kwargs = sample.call()
        layers = {name: self.bench.layers[name] for name in self.taps}
        with paddle.no_grad(), eval_mode(self.bench.float_model), _results(layers, found, None):
            answer = _ended(self.bench.float_model, args, kwargs)
        return found, answer if self.is_whole else []

    def _powers(self) -> dict[str, float]:
        found, _ = self._float(self.samples[0])
        return {name: float(sum((result**2).mean() for result in results) / len(results)) for name, results in found.items()}


def _floats(answer: Any) -> list[paddle.Tensor]:
    return [tensor for tensor in tensors_in(answer if isinstance(answer, (tuple, list, dict)) else (answer,)) if tensor.is_floating_point()]


def _ended(model: nn.Layer, args: Any, kwargs: Any) -> list[paddle.Tensor]:
    """A model's answer; none where its forward was ended before."""
    try:
        return _floats(model(*args, **kwargs))
    except _SeenError:
        return []


class _SeenError(Exception):
    """All that is looked for has been seen; ends a forward."""


@contextmanager
def _results(layers: dict[str, nn.Layer], found: dict[str, list[paddle.Tensor]], count: int | None) -> Iterator[None]:
    """While entered, the results of layers are noted; after so many the forward ends."""

    def noting(name: str) -> Any:
        def hook(_layer: nn.Layer, _args: Any, answer: Any) -> None:
            found.setdefault(name, []).append(answer)
            if count is not None and sum(map(len, found.values())) >= count:
                raise _SeenError

        return hook

    handles = [layer.register_forward_post_hook(noting(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
