"""A converted model that can learn: rounding that lets gradients through, on a structural copy whose twins read trainable tensors.

Bengio, Leonard, Courville: "Estimating or Propagating Gradients Through Stochastic Neurons" (2013) for the straight-through estimator;
Esser, McKinstry, Bablani, Appuswamy, Modha: "Learned Step Size Quantization" (2020) for scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle

from quantizers import QParams

from ..util.structural_copy import structural_copy
from .units import Unit
from .workbench import Workbench

__all__ = ["Learner", "Learnt"]

WEIGHTS, SCALES, BIASES, INPUTS = "weights", "scales", "biases", "inputs"
COARSE = 4
NEAR = 0.3  # a weight begins at most so far from its integer, so that one that was rounded for the others' sake does not fall back at once
BUFFERS = {WEIGHTS: "weight_quantized", SCALES: "weight_scale", BIASES: "bias"}


def round_through(x: paddle.Tensor) -> paddle.Tensor:
    """Rounded; its gradient is that of ``x``."""
    return x + (paddle.round(x) - x).detach()


@dataclass
class Learnt:
    """One trainable tensor, a change of something: ``rate`` is its own learning rate."""

    value: paddle.Tensor
    rate: float
    first: Any = 0.0
    second: Any = 0.0


@dataclass
class Learner:
    """A learning copy of a workbench's model.

    Args:
        bench: whose twins are copied as they are.
        units: weights that learn; other twins round with gradients, and stay as they are.
        kinds: what learns: ``weights``, ``scales`` (of weights), ``biases``, ``inputs`` (scales of grids).
        rates: learning rate by kind, for 4 bits: weights in steps of their grid, biases in units of the layer's typical result, scales
            relative; but for weights it halves with every bit more.
        typical: root mean square of each layer's results, by name.
        drop: share of the elements of what the units read that stays unrounded, chosen anew every time (Wei, Gong, Li, Liu, Yu: "QDrop",
            2022).

    Attributes:
        model: the copy, to be called under gradients after `begin`.
        twins: its twins by name.
        learnt: what learns, by kind and name.
        changing: names of the twins that it changes.
    """

    bench: Workbench
    units: list[Unit]
    kinds: tuple[str, ...]
    rates: dict[str, float]
    typical: dict[str, float]
    drop: float = 0.0
    learnt: dict[tuple[str, str], Learnt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = structural_copy(self.bench.model)
        copies = dict(self.model.named_sublayers(include_self=True))
        self.twins: dict[str, Any] = {name: copies[name] for name in self.bench.twins}
        self._start: dict[tuple[str, str], Any] = {}
        for name, bias in self.bench.biases.items():
            del self.twins[name]._parameters["bias"]  # what is no parameter may depend on others
            self.twins[name]._buffers["bias"] = paddle.to_tensor(bias.astype(np.float32))
        for unit in self.units:
            self._learn_unit(unit)
        owners = {owner for unit in self.units for name in unit.names for owner in self.bench.on_grids.get(name, [name])}
        for name, twin in self.twins.items():
            if twin.input_qparams is not None:
                if INPUTS in self.kinds and name in owners and "input_shift" not in twin._buffers:  # that one is made of whole steps
                    self._add(INPUTS, name, twin._buffers["input_scale"], np.zeros([]), twin.input_qparams.num_bits)
                vars(twin)["quantize_input"] = self._rounding(twin, self.drop if name in owners else 0.0)
        self.changing = sorted(owners | {name for unit in self.units for name in unit.names})

    def _add(self, kind: str, name: str, start: Any, value: np.ndarray[Any, Any], bits: int) -> None:
        tensor = paddle.to_tensor(value.astype(np.float32), stop_gradient=False)
        # what moves a whole grid must move by less than its steps, however fine they are
        fine = 1.0 if kind == WEIGHTS else 2.0 ** (COARSE - bits)
        self.learnt[kind, name] = Learnt(tensor, self.rates[kind] * fine)
        self._start[kind, name] = start

    def _learn_unit(self, unit: Unit) -> None:
        name = unit.name
        if WEIGHTS in self.kinds:
            levels = unit.layout.weight(unit.integers)
            inside = unit.layout.weight(np.clip(unit.goal / unit.scale - unit.integers, -NEAR, NEAR))
            self._add(WEIGHTS, name, paddle.to_tensor((levels + inside).astype(np.float32)), np.zeros(levels.shape), unit.bits)
        if SCALES in self.kinds and unit.may_rescale:
            scale = unit.twins[0]._buffers["weight_scale"]
            self._add(SCALES, name, scale, np.zeros(scale.shape), unit.bits)
        if BIASES in self.kinds and name in self.bench.biases and len(unit.names) == 1:
            self._add(BIASES, name, self.twins[name]._buffers["bias"], np.zeros(self.bench.biases[name].shape), unit.bits)

    def _rounding(self, twin: Any, drop: float) -> Any:
        def quantize_input(x: paddle.Tensor) -> paddle.Tensor:
            x = twin.before_rounding(x)
            scale, zero_point = twin._buffers["input_scale"], twin._buffers["input_zero_point"]
            high = 2**twin.input_qparams.num_bits - 1
            found = (paddle.clip(round_through(x / scale) + zero_point, 0, high) - zero_point) * scale
            return paddle.where(paddle.rand(x.shape) < drop, x, found) if drop else found

        return quantize_input

    def begin(self) -> None:
        """Before every forward: the twins get tensors that depend on what is learnt."""
        for unit in self.units:
            for kind, buffer in BUFFERS.items():
                made = self._made(kind, unit)
                for name in unit.names if made is not None else ():
                    self.twins[name]._buffers[buffer] = made
        for (kind, name), learnt in self.learnt.items():
            if kind == INPUTS:
                self.twins[name]._buffers["input_scale"] = self._start[kind, name] * paddle.exp(learnt.value)

    def _made(self, kind: str, unit: Unit) -> Any:
        key = (kind, unit.name)
        if key not in self.learnt:
            return None
        start, change = self._start[key], self.learnt[key].value
        if kind == WEIGHTS:
            return round_through(paddle.clip(start + change, *unit.bounds))
        return start * paddle.exp(change) if kind == SCALES else start + change * self.typical.get(unit.name, 1.0)

    def step(self, gradients: list[Any], number: int, factor: float) -> None:
        """One step of Adam (Kingma, Ba, 2015) down the gradients, in the order of `tensors`; ``factor`` scales the learning rates."""
        for learnt, gradient in zip(self.learnt.values(), gradients, strict=True):
            if gradient is None:
                continue
            learnt.first = 0.9 * learnt.first + 0.1 * gradient
            learnt.second = 0.99 * learnt.second + 0.01 * gradient * gradient
            first, second = learnt.first / (1 - 0.9**number), learnt.second / (1 - 0.99**number)
            moved = learnt.value - factor * learnt.rate * first / (paddle.sqrt(second) + 1e-12)
            learnt.value = moved.detach()
            learnt.value.stop_gradient = False

    @property
    def tensors(self) -> list[paddle.Tensor]:
        """What learns."""
        return [learnt.value for learnt in self.learnt.values()]

    def write(self) -> None:
        """Puts what was learnt into the workbench's model."""
        for unit in self.units:
            integers, scale = unit.integers, unit.scale
            if (weights := self._made(WEIGHTS, unit)) is not None:
                integers = unit.layout.matrix(np.rint(weights.numpy()).astype(np.float64))
            if (scales := self._made(SCALES, unit)) is not None:
                whole = np.broadcast_to(scales.numpy().astype(np.float64), tuple(unit.twins[0]._buffers["weight_quantized"].shape))
                scale = unit.layout.matrix(whole)
            unit.write(integers, scale)
            if (bias := self._made(BIASES, unit)) is not None:
                self.bench.biases[unit.name] = bias.numpy().astype(np.float64)
        for (kind, name), learnt in self.learnt.items():
            if kind == INPUTS:
                twin = self.bench.twins[name]
                scale = (self._start[kind, name] * paddle.exp(learnt.value)).numpy()
                twin.set_input_grid(_rescaled(twin.input_qparams, scale), twin._buffers.get("input_factor"))
        self.bench.settle()


def _rescaled(grid: Any, scale: Any) -> QParams:
    return QParams(scale, grid.zero_point, grid.quant_min, grid.quant_max, grid.num_bits, grid.quant_axis)
