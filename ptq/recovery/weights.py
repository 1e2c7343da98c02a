"""Weights, layer by layer in the order of execution: each is rounded for what it reads in the quantized model as it is by then.

All ways of rounding work on the same sums (`gram`), so they chain: a goal (`qronos`), scales (`clip`), integers (`gptq`, `adaround`), and
coordinate descent from there (`descent`); the layer's bias follows (`bias`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError

from .adaround import adaround
from .bias import corrected_bias
from .clip import best_scales
from .collect import Collector
from .descent import descend, descend_with_scales
from .gptq import gptq
from .gram import Gram, centred
from .objective import Bounds, better_rows, damped, nearest
from .qronos import corrected_goal
from .tape import Tapes
from .units import Unit
from .workbench import Workbench

__all__ = ["WeightSettings", "recover_weights", "rounded"]

Array = npt.NDArray[np.float64]

UNCERTAIN = 0.1  # for each input of a column and column: more damping where there are few columns
METHODS = ("keep", "nearest", "gptq", "adaround")


@dataclass(frozen=True)
class WeightSettings:
    """How weights and biases are recovered.

    Args:
        method: of rounding: ``gptq``, ``adaround``, ``nearest``, or ``keep`` for integers as they are.
        clip: choose the scale of each output channel anew.
        corrected: aim at the float layer's results rather than at its weights, see `qronos`.
        sweeps: of coordinate descent afterwards, 0 for none.
        bias: correct biases too.
        stages: how often the samples are run: the layers are divided into so many groups, and each reads what the recovered ones before
            it give; 0 for a run for every layer.
        samples: how many are looked at, about; 0 for all.
        damping: of the inputs' products, see `objective.damped`; more is added where there are few columns for the inputs.

    Raises:
        ConfigError: a value is out of its range.
    """

    method: str = "gptq"
    clip: bool = True
    corrected: bool = False
    sweeps: int = 4
    bias: bool = True
    stages: int = 8
    samples: int = 0
    damping: float = 0.01

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if min(self.sweeps, self.stages, self.samples) < 0 or not self.damping > 0:
            raise ConfigError(f"sweeps, stages and samples must not be negative and damping must be positive: {self}")


def recover_weights(bench: Workbench, settings: WeightSettings) -> None:
    """Recovers all weights and biases of a workbench, in place."""
    collector = Collector(bench, settings.samples)
    tapes = Tapes(bench.memory // 4)
    groups = _stages(bench.units, settings.stages)
    for number, group in enumerate(groups):
        bench.report("weights" if settings.method != "keep" else "biases", number, len(groups))
        bench.settle()
        grams = collector.grams(group, tapes)
        for position, unit in enumerate(group):
            if unit.name in grams:
                _recover(bench, unit, grams[unit.name], settings, is_first=position == 0)
    bench.settle()


def _stages(units: Sequence[Unit], stages: int) -> list[list[Unit]]:
    count = min(stages or len(units), len(units))
    edges = [len(units) * number // count for number in range(count + 1)] if count else []
    return [list(units[start:stop]) for start, stop in itertools.pairwise(edges)]


def _recover(bench: Workbench, unit: Unit, gram: Gram, settings: WeightSettings, *, is_first: bool) -> None:
    """Recovers one unit.

    What layers before it add to its result is its own to correct only where they are done (``is_first``): two layers that read their
    inputs at the same time would correct the same error twice.
    """
    if gram.count == 0:
        return
    bias = bench.biases.get(unit.name) if len(unit.names) == 1 else None
    if settings.method != "keep":
        is_free = bias is not None and settings.bias
        products, crossed = centred(gram) if is_free else _fixed(gram, bias)
        # inputs that few columns have shown together may come together otherwise
        damping = settings.damping + UNCERTAIN * products.shape[2] / gram.count
        unit.write(*rounded(unit, products, crossed if settings.corrected and is_first else None, settings, damping))
    if bias is not None and settings.bias:
        matrix, own = unit.integers * unit.scale, bias.reshape(gram.squares.shape)
        if is_first:
            found = (means.residuals(matrix, own) for means in (gram.means, gram.held))
        else:
            found = (means.residuals_of(matrix - unit.goal) for means in (gram.means, gram.held))
            own = bench.float_bias(unit.name).reshape(own.shape)
        bench.biases[unit.name] = corrected_bias(own, *found).reshape(-1)


def _fixed(gram: Gram, bias: Array | None) -> tuple[Array, Array]:
    """``H`` and ``C`` for a bias that stays."""
    groups, outputs = gram.squares.shape
    held = np.zeros((groups, outputs)) if bias is None else bias.reshape(groups, outputs)
    crossed = gram.crossed[..., :-1] - held[..., None] * gram.products[:, None, :-1, -1]
    return gram.products[:, :-1, :-1], np.asarray(crossed)


def rounded(unit: Unit, products: Array, crossed: Array | None, settings: WeightSettings, damping: float) -> tuple[Array, Array]:
    """Integers and scales of a unit, each row as it was where no way of rounding is better for the goal.

    The goal is the float weight, or with ``crossed`` what `qronos` makes of it; ``damping`` as in `objective.damped`.
    """
    bounds, goal, before = unit.bounds, unit.goal, (unit.integers, unit.scale)
    if crossed is not None:
        goal = corrected_goal(goal, products, crossed, damping=damping)
    products = damped(products, damping)
    scale = best_scales(goal, before[1], bounds, products) if settings.clip and unit.may_rescale else before[1]
    found = (_integers(goal, scale, bounds, products, settings), scale)
    if settings.sweeps and settings.clip and unit.may_rescale:
        found = descend_with_scales(*found, goal, bounds, products, sweeps=settings.sweeps)
    elif settings.sweeps:
        found = (descend(*found, goal, bounds, products, sweeps=settings.sweeps), scale)
    return better_rows(found, before, goal, products)


def _integers(goal: Array, scale: Array, bounds: Bounds, products: Array, settings: WeightSettings) -> Array:
    plain = nearest(goal, scale, bounds)
    if settings.method == "nearest":
        return plain
    if settings.method == "adaround":
        return adaround(goal, scale, bounds, products)
    found = gptq(goal, scale, bounds, products, damping=0.0)
    return better_rows((found, scale), (plain, scale), goal, products)[0]
