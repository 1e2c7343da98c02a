"""What the last layers before the outputs say of a step, where the outputs are too few numbers to tell a gain from chance.

A classifier's two probabilities are a hundred times nearer to the float ones for one sample than for the next, so a mean over a few dozen
samples moves by several dB; the results of the layers that they are made of are thousands of numbers, which move together.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from ..util.modes import eval_mode
from .judge import CAP, jackknife
from .samples import size_of
from .workbench import Workbench

__all__ = ["gain_between", "last_layers", "squares_of"]

Array = npt.NDArray[np.float64]

LAYERS = 3


def last_layers(bench: Workbench) -> list[str]:
    """The layers with weights that are called last but for the very last, whose result is an output or all but one."""
    return [name for unit in bench.units[-1 - LAYERS : -1] for name in unit.names]


def squares_of(bench: Workbench) -> Array:
    """Of the float model's results of those layers the power, and of the model's as it is the noise: ``[samples, layers, 2]``.

    Of the held-back samples; a call whose results do not divide into its samples counts as one.
    """
    names = last_layers(bench)
    found = []
    bench.settle()
    for sample in bench.held:
        args, kwargs = sample.call()
        wanted: dict[str, list[paddle.Tensor]] = {name: [] for name in names}
        results: dict[str, list[paddle.Tensor]] = {name: [] for name in names}
        for model, layers, kept in ((bench.float_model, bench.layers, wanted), (bench.model, bench.twins, results)):
            with paddle.no_grad(), eval_mode(model), ExitStack() as hooks:
                for name in names:
                    hook = layers[name].register_forward_post_hook(_keeping(kept[name]))
                    hooks.callback(hook.remove)
                model(*args, **kwargs)
        found.append(_squares(bench.twins, wanted, results, size_of(sample)))
    return np.concatenate(found)


def gain_between(before: Array, after: Array) -> tuple[float, float]:
    """What the layers' signal-to-noise ratios gained, on average in dB, and the standard error of that; both from `squares_of`."""

    def gain(kept: npt.NDArray[np.int64]) -> float:
        return _decibels(after[kept]) - _decibels(before[kept])

    return gain(np.arange(len(before))), jackknife(gain, len(before))


def _keeping(kept: list[paddle.Tensor]) -> Any:
    def hook(_layer: nn.Layer, _args: Any, result: paddle.Tensor) -> None:
        kept.append(result)

    return hook


def _squares(twins: Mapping[str, Any], wanted: Any, results: Any, size: int) -> Array:
    each = size if all(tensor.shape[0] % size == 0 for calls in wanted.values() for tensor in calls if tensor.ndim) else 1
    sums = np.zeros((each, len(wanted), 2))
    for number, name in enumerate(wanted):
        for expected, result in zip(wanted[name], results[name], strict=True):
            target = twins[name].in_own_units(expected).astype("float64").numpy().reshape(each, -1)
            found = result.astype("float64").numpy().reshape(each, -1)
            sums[:, number, 0] += np.square(target).sum(axis=1)
            sums[:, number, 1] += np.square(found - target).sum(axis=1)
    return sums


def _decibels(squares: Array) -> float:
    """Mean over the layers; those that are always zero count for nothing."""
    power, noise = squares.sum(axis=0).T
    tiny = np.finfo(np.float64).tiny
    found = np.minimum(10 * np.log10(np.maximum(power, tiny) / np.maximum(noise, tiny)), CAP)[power > 0]
    return float(found.mean()) if found.size else CAP
