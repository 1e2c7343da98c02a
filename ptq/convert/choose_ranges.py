"""Chooses among the candidate ranges of `AutoQuantizer`s by what they do to the model, on retained calibration samples.

Error on a tensor's own histogram is a poor guide to it: a rule that clips the few largest values may cost or save the layer after it.
So each layer first gets the candidate that changes its own output least.  That choice, and each candidate used everywhere, is then
tried in the whole converted model and compared at the outputs of all quantized layers.  The default rule stays unless another is
better by `MARGIN`: on a few samples a smaller gain is chance, and rules that clip more generalise worse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers import AutoQuantizer, QParams

from ..calibration.seen import Seen
from ..layers import GridInput, fake_quantize
from ..registry import input_argument
from ..util.messages import warn
from ..util.modes import eval_mode
from .plan import Plan

__all__ = ["choose_ranges"]

MARGIN = 0.5  # dB
PROBES = 1024  # elements of each sample's layer output that are compared


def choose_ranges(
    model: nn.Layer,
    trial: nn.Layer,
    seen: Seen,
    plan: Plan,
    twins: Mapping[str, GridInput],
    channelled: Collection[str] = (),
    scaled: Collection[str] = (),
) -> None:
    """Sets the grids of the twins, and the choice of their quantizers, where a rule leaves one.

    Args:
        model: the calibrated float model, which is left as it is.
        trial: the converted model that the choices are tried in; it holds ``twins``.
        seen: has the retained samples.
        plan: names the layers; for those whose input lies on grids, their outputs, not those of the grids, tell which candidate is best.
        twins: by the layer's name.
        channelled: twins that have a grid per channel, which is no choice.
        scaled: twins whose results are not those of the float layer, so that they tell nothing.
    """
    quantizers = {
        name: rule
        for name in plan.layers
        if isinstance(rule := plan.states[name].in_act_quantizer, AutoQuantizer)
        and plan.states[name].scheme.calibrated_input is not None
        and plan.rounds_input(name)
        and name not in channelled
    }
    if quantizers:
        on_grids = {name: grids for name, grids in plan.on_grids.items() if name not in scaled}
        choice = RangeChoice(quantizers, seen, on_grids, scaled)
        choice.measure(model)
        choice.select(trial, twins)


class RangeChoice:
    """The choice for one model: `measure` on the calibrated float model, then `select` on the converted one."""

    def __init__(
        self, quantizers: Mapping[str, AutoQuantizer], seen: Seen, on_grids: Mapping[str, list[str]], scaled: Collection[str] = ()
    ) -> None:
        self.quantizers = quantizers
        self.seen = seen
        self.on_grids = dict(on_grids)
        self.grids = {name: quantizer.candidate_grids() for name, quantizer in quantizers.items()}
        self.errors: dict[str, np.ndarray] = {}
        judged = {grid for grids in self.on_grids.values() for grid in grids}
        self.judges = {**{name: [name] for name in quantizers if name not in judged and name not in scaled}, **self.on_grids}
        self.reference: dict[str, list[np.ndarray]] = {name: [] for name in self.judges}

    def measure(self, model: nn.Layer) -> None:
        """Runs the samples through the float model: each layer's output, and its error with each candidate."""
        if not self.seen.samples:
            warn("no calibration samples are retained, so each tensor's range is chosen by the error on its own histogram")
            return
        for name in self.grids:
            self.errors[name] = np.zeros(len(self.grids[name]))

        def record(name: str, layer: nn.Layer, args: Any, kwargs: Any, output: paddle.Tensor) -> None:
            grids = self.judges[name]
            grid = grids[len(self.reference[name]) % len(grids)]  # one for each call of the layer
            self.reference[name].append(_probe(_main(output)))
            for index, error in _errors(layer, self.grids.get(grid, []), args, kwargs, output):  # a grid may have a rule of its own
                self.errors[grid][index] += error

        self._run(model, record)

    def select(self, model: nn.Layer, twins: Mapping[str, GridInput]) -> None:
        """Tries the choices in the converted model and keeps the best: sets the quantizers' choice and the twins' grids."""
        if not self.errors:
            return
        count = min(len(grids) for grids in self.grids.values())
        choices = [dict.fromkeys(self.grids, index) for index in range(count)]
        choices.append({name: int(errors.argmin()) for name, errors in self.errors.items()})
        fidelity = [self._fidelity(model, twins, choice) for choice in choices]
        best = int(np.argmax(fidelity))
        if fidelity[best] < fidelity[0] + MARGIN:
            best = 0
        self._set(twins, choices[best])
        for name, quantizer in self.quantizers.items():
            quantizer.choose(choices[best][name])

    def _set(self, twins: Mapping[str, GridInput], choice: Mapping[str, int]) -> None:
        for name, index in choice.items():
            twins[name].set_input_grid(self.grids[name][index])

    def _fidelity(self, model: nn.Layer, twins: Mapping[str, GridInput], choice: Mapping[str, int]) -> float:
        """Mean over layers of the SQNR of their outputs in dB, all of the model quantized."""
        self._set(twins, choice)
        position = dict.fromkeys(self.reference, 0)
        power = {name: np.zeros(2) for name in self.reference}

        def compare(name: str, _layer: nn.Layer, _args: Any, _kwargs: Any, output: paddle.Tensor) -> None:
            expected = self.reference[name][position[name]]
            position[name] += 1
            power[name] += np.square(expected).sum(), np.square(expected - _probe(_main(output))).sum()

        self._run(model, compare)
        tiny = np.finfo(np.float64).tiny
        return float(np.mean([10 * np.log10((signal + tiny) / (noise + tiny)) for signal, noise in power.values()]))

    def _run(self, model: nn.Layer, hook: Callable[..., None]) -> None:
        layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if name in self.judges}
        with paddle.no_grad(), eval_mode(model), self.seen.paused(), _hooks(layers, hook):
            for sample in self.seen.samples:
                args, kwargs = sample.call()
                model(*args, **kwargs)


def _errors(layer: nn.Layer, grids: list[QParams], args: Any, kwargs: Any, output: paddle.Tensor) -> Iterator[tuple[int, float]]:
    """Squared error of the layer's output for each candidate grid of its input; equal grids are computed once."""
    name = input_argument(type(layer))
    x = args[0] if args else kwargs[name]
    known: dict[QParams, float] = {}
    for index, grid in enumerate(grids):
        if grid not in known:
            scale, zero_point = (paddle.to_tensor(np.asarray(value), dtype="float32") for value in (grid.scale, grid.zero_point))
            rounded = fake_quantize(x, scale, zero_point, grid.quant_min, grid.quant_max)
            answer = layer.forward(rounded, *args[1:], **kwargs) if args else layer.forward(**{**kwargs, name: rounded})
            known[grid] = float(np.square((_main(answer) - _main(output)).astype("float64").numpy()).sum())
        yield index, known[grid]


def _main(output: Any) -> paddle.Tensor:
    """What a layer computes, without the states that recurrent ones return beside it."""
    return next(item for item in paddle.utils.flatten(output) if isinstance(item, paddle.Tensor))


def _probe(output: paddle.Tensor) -> np.ndarray:
    """At most `PROBES` elements of each sample, float64, evenly spread."""
    rows = output.reshape([output.shape[0], -1]) if output.ndim else output.reshape([1, 1])
    return np.asarray(rows[:, :: max(1, rows.shape[1] // PROBES)].astype("float64").numpy())


@contextmanager
def _hooks(layers: Mapping[str, nn.Layer], hook: Callable[..., None]) -> Iterator[None]:
    def named(name: str) -> Callable[..., None]:
        def call(layer: nn.Layer, args: Any, kwargs: Any, output: Any) -> None:
            hook(name, layer, args, kwargs, output)

        return call

    handles = [layer.register_forward_post_hook(named(name), prepend=True, with_kwargs=True) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
