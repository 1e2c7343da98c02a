"""How good a quantized model is: its answers to held-back samples beside those of the float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers.errors import ConfigError

from ..calibration.seen import Sample
from ..util.modes import eval_mode
from .samples import arrays_of, size_of

__all__ = ["CAP", "Answers", "Judge", "Metric", "jackknife", "mean_sqnr"]

Answers = Sequence[Sequence[np.ndarray[Any, Any]]]
Metric = Callable[[Answers, Answers], float]
"""Of the float model's and the quantized model's answers, for each call a list of its floating-point outputs: larger is better.

For the uncertainty of a gain it is asked of parts of the samples too, one sample to a call where the outputs allow it.
"""

CAP = 200.0  # dB; so that equal answers have a finite figure
PARTS = 32  # of the samples, for the uncertainty of a gain


def mean_sqnr(expected: Answers, answers: Answers) -> float:
    """Mean over the outputs of their signal-to-noise ratio in dB, power and noise summed over all calls; at most 200.

    An output that is always zero is left out.  Answers that are not finite where the float model's are count as no signal at all.
    """
    found = []
    for number in range(len(expected[0])):
        power = noise = 0.0
        for wanted, answer in zip(expected, answers, strict=True):
            a, b = wanted[number].astype(np.float64), answer[number].astype(np.float64)
            finite = np.isfinite(a)
            difference = np.where(finite, b - np.where(finite, a, 0.0), 0.0)
            power += float(np.square(a[finite]).sum())
            noise += float(np.square(difference).sum())
        if power > 0:
            found.append(min(10 * np.log10(power / noise), CAP) if 0 < noise < np.inf else CAP if noise == 0 else -np.inf)
    return float(np.mean(found)) if found else CAP


def jackknife(figure: Callable[[npt.NDArray[np.int64]], float], count: int) -> float:
    """Standard error of a figure of samples (Quenouille 1956, Tukey 1958).

    It is computed again without each of them, or of `PARTS` parts where there are more.  0 for one sample, or where a figure is not finite.

    Args:
        figure: of the samples with these numbers.
        count: how many there are.
    """
    numbers, parts = np.arange(count), min(PARTS, count)
    if parts < 2:
        return 0.0
    found = [figure(numbers[numbers % parts != part]) for part in range(parts)]
    spread = float(np.square(np.subtract(found, np.mean(found))).sum()) if np.isfinite(found).all() else 0.0
    return float(np.sqrt((parts - 1) / parts * spread))


class Judge:
    """Compares models with the float model on the same samples; ``judge(model)`` is the metric.

    Args:
        float_model: answers once, when first needed.
        samples: calls of it.
        metric: see `Metric`.
    """

    def __init__(self, float_model: nn.Layer, samples: Sequence[Sample], metric: Metric = mean_sqnr) -> None:
        self.samples = list(samples)
        self.metric = metric
        self._float_model = float_model
        self._expected: list[list[np.ndarray[Any, Any]]] | None = None

    @property
    def expected(self) -> list[list[np.ndarray[Any, Any]]]:
        """The float model's answers."""
        if self._expected is None:
            self._expected = self.answers(self._float_model)
        return self._expected

    def answers(self, model: nn.Layer) -> list[list[np.ndarray[Any, Any]]]:
        """A model's answers."""
        found = []
        with paddle.no_grad(), eval_mode(model):
            for sample in self.samples:
                args, kwargs = sample.call()
                found.append(arrays_of(model(*args, **kwargs)))
        return found

    def __call__(self, model: nn.Layer) -> float:
        """The metric of a model."""
        return self.figure(self.answers(model))

    def figure(self, answers: Answers) -> float:
        """The metric of answers; raises ``ConfigError`` where a user's own gives no number."""
        return self._figure(self.expected, answers)

    def uncertainty(self, before: Answers, after: Answers) -> float:
        """Standard error of the gain from one set of answers to another: what other samples of the same kind would make of it.

        Both sets answer the same samples, so what is hard about a sample counts for nothing; see `jackknife`.
        """
        rows = [self._single(answers) for answers in (self.expected, before, after)]

        def gain(kept: npt.NDArray[np.int64]) -> float:
            expected, first, second = ([row[number] for number in kept] for row in rows)
            return self._figure(expected, second) - self._figure(expected, first)

        return jackknife(gain, len(rows[0]))

    def _figure(self, expected: Answers, answers: Answers) -> float:
        value = self.metric(expected, answers)
        if not isinstance(value, (int, float, np.floating)) or np.isnan(value):
            raise ConfigError(f"metric must return a number, larger for better answers; got {value!r}")
        return float(value)

    def _single(self, answers: Answers) -> list[Sequence[np.ndarray[Any, Any]]]:
        """Answers to one sample each, where the first dimension of all outputs counts samples."""
        found: list[Sequence[np.ndarray[Any, Any]]] = []
        for sample, outputs in zip(self.samples, answers, strict=True):
            size = size_of(sample)
            if all(output.ndim and output.shape[0] == size for output in outputs):
                found.extend([output[number : number + 1] for output in outputs] for number in range(size))
            else:
                found.append(outputs)
        return found
