"""Mixed precision: a width for every weight, so that the model's answers suffer least within a budget of bytes or of bit operations.

Each weight is rounded alone with each width and judged by the noise that this adds to the outputs; noises of different layers add up, so
the best choice under a budget is a linear programme with whole numbers (`scipy.optimize.milp`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from quantizers.errors import ConfigError

from ..config.overrides import QuantOverride
from .clip import best_scales
from .judge import Judge
from .macs import count_macs
from .objective import nearest
from .progress_line import ProgressLine
from .sensitivity import first_samples
from .switches import Switches
from .units import Unit
from .workbench import Workbench

__all__ = ["MixedPrecision", "choose_widths", "measure_widths", "mixed_precision"]


@dataclass(frozen=True)
class MixedPrecision:
    """A width for every weight.

    Attributes:
        bits: by the names of layers.
        noise: the sum of the noises that were measured, relative to the power of the outputs.
        bytes: of the weights' integers.
        bit_macs: multiply-accumulates times the width of the weight.
    """

    bits: Mapping[str, int]
    noise: float
    bytes: float
    bit_macs: float

    def overrides(self) -> dict[str, QuantOverride]:
        """For `PTQConfig`."""
        return {name: QuantOverride(weight_bits=bits) for name, bits in self.bits.items()}


def mixed_precision(
    bench: Workbench,
    widths: Sequence[int] = (8, 4),
    *,
    max_bytes: float | None = None,
    max_bit_macs: float | None = None,
    max_samples: int = 64,
    progress: bool = True,
) -> MixedPrecision:
    """The widths of least noise within a budget; the workbench is left as it is.

    Args:
        bench: a converted model.
        widths: to choose among, 2..8.
        max_bytes: of all weights' integers, as a share of what they take with 8 bits.
        max_bit_macs: of multiply-accumulates times widths, as a share of what 8 bits give.
        max_samples: how many samples judge, at most.
        progress: show progress where stderr is a terminal.

    Raises:
        ConfigError: a width is out of range, there is no budget, or no choice is within it.
    """
    if max_bytes is None and max_bit_macs is None:
        raise ConfigError("mixed precision needs a budget: max_bytes or max_bit_macs, as a share of 8 bits")
    if not widths or any(bits not in range(2, 9) for bits in widths):
        raise ConfigError(f"widths must be whole numbers from 2 to 8, got {widths!r}")
    noise = measure_widths(bench, widths, max_samples, progress)
    names = [unit.name for unit in bench.units]
    size = np.array([unit.goal.size / 8 for unit in bench.units])
    judges = first_samples(bench.samples, max_samples)
    counted = count_macs(bench.float_model, {name: bench.layers[name] for unit in bench.units for name in unit.names}, judges[:1])
    macs = np.array([float(sum(counted[name] for name in unit.names)) for unit in bench.units])
    costs = [(part, share * 8 * part.sum()) for part, share in ((size, max_bytes), (macs, max_bit_macs)) if share is not None]
    chosen = choose_widths(noise, widths, costs)
    bits = np.array([widths[index] for index in chosen])
    every = {name: int(bits[number]) for number, unit in enumerate(bench.units) for name in unit.names}
    total = float(noise[np.arange(len(names)), chosen].sum())
    return MixedPrecision(every, total, float((size * bits).sum()), float((macs * bits).sum()))


def measure_widths(bench: Workbench, widths: Sequence[int], max_samples: int, progress: bool = True) -> npt.NDArray[np.float64]:
    """Relative noise of the outputs with one weight rounded alone, ``[units, widths]``; a metric of the user's plays no part here."""
    judge, switches, line = Judge(bench.float_model, first_samples(bench.samples, max_samples)), Switches(bench), ProgressLine(progress)
    found = np.zeros((len(bench.units), len(widths)))
    for row, unit in enumerate(bench.units):
        for column, bits in enumerate(widths):
            line("widths", row * len(widths) + column, found.size)
            integers, scale = _nearest(unit, bits)
            switches.switch([], [])
            with switches.with_integers(unit.name, integers, scale):
                found[row, column] = 10 ** (-judge(switches.model) / 10)
    line.clear()
    return found


def _nearest(unit: Unit, bits: int) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The nearest integers of that width, each output channel clipped for the least squared error of its weights."""
    half = 2 ** (bits - 1)
    bounds = (1 - half if bits == 8 else -half, half - 1)
    goal = unit.goal
    start = np.broadcast_to(np.abs(goal).max(axis=2, keepdims=True) / bounds[1] + np.finfo(np.float64).tiny, goal.shape)
    scale = best_scales(goal, start, bounds, np.broadcast_to(np.eye(goal.shape[2]), (goal.shape[0], *[goal.shape[2]] * 2)))
    parts = (unit.layout.weight(part) for part in (nearest(goal, scale, bounds), scale))
    first, second = (paddle.to_tensor(part.astype(np.float32)) for part in parts)
    return first, second


def choose_widths(
    noise: npt.NDArray[np.float64], widths: Sequence[int], costs: Sequence[tuple[npt.NDArray[np.float64], float]]
) -> npt.NDArray[np.int64]:
    """The column of each row so that the sum of noises is least.

    Args:
        noise: ``[rows, widths]``.
        widths: of the columns.
        costs: pairs of what each row costs for a bit, ``[rows]``, and how much all may cost.

    Raises:
        ConfigError: no choice costs so little.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    rows, columns = noise.shape
    one_each = np.kron(np.eye(rows), np.ones(columns))
    constraints: list[Any] = [LinearConstraint(one_each, 1, 1)]
    for each, limit in costs:
        weights = np.outer(each, np.asarray(widths, dtype=np.float64)).ravel()
        scale = max(float(weights.max()), 1e-300)
        constraints.append(LinearConstraint(weights[None] / scale, -np.inf, limit / scale * (1 + 1e-9)))
    unit = max(float(noise.max()), 1e-300)
    found = milp(noise.ravel() / unit, integrality=np.ones(noise.size, dtype=np.int64), bounds=Bounds(0, 1), constraints=constraints)
    if not found.success:
        raise ConfigError(f"no choice among widths {list(widths)} is within the budget: raise it, or allow fewer bits")
    return np.asarray(found.x.reshape(rows, columns).argmax(axis=1))
