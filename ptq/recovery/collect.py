"""Runs samples through both models and sums up what layers read and what they should answer; see `gram`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from ..calibration.seen import Sample
from ..registry import input_argument
from ..util.modes import eval_mode
from .gram import Gram
from .samples import size_of, spread
from .tape import Tapes
from .units import Unit
from .workbench import Workbench

__all__ = ["Collector"]

LEAST = 2048
EACH = 64
"""At least so many columns are looked at in all, and so many for each input of a column."""


@dataclass(frozen=True)
class Target:
    """What one call of a layer answered in the float model at some places; ``shape`` is that of its whole result."""

    chosen: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    results: npt.NDArray[np.float32]


class _ReachedError(Exception):
    """All that is looked for has been seen; ends a forward."""


class Collector:
    """Collects the sums of layers of one workbench; remembers the float model's answers as far as the memory allows.

    Args:
        bench: has the models and the samples.
        samples: how many samples to fit on are looked at, about, in whole calls; 0 for all of them.
    """

    def __init__(self, bench: Workbench, samples: int = 0) -> None:
        self.bench = bench
        self.fit = spread(bench.fit, samples)
        self.calls: list[tuple[Sample, bool]] = [*((sample, True) for sample in self.fit), *((sample, False) for sample in bench.held)]
        self._samples = sum(size_of(sample) for sample in self.fit)
        self._units = {name: unit for unit in bench.units for name in unit.names}
        self._known: dict[int, dict[str, list[Target]]] = {}
        self._keeps = self._estimated() <= bench.memory // 2

    def _estimated(self) -> int:
        wanted = (self._wanted(unit) * unit.goal.shape[0] * unit.goal.shape[1] for unit in self.bench.units)
        return int(4 * sum(wanted) * 4 // 3)

    @staticmethod
    def _wanted(unit: Unit) -> int:
        inputs = int(unit.goal.shape[2])
        return max(LEAST, inputs * (EACH if inputs <= 1024 else EACH // 4))

    def bytes_of(self, unit: Unit) -> int:
        """What the sums of a unit take."""
        groups, outputs, inputs = unit.goal.shape
        return int(8 * groups * (inputs + 1 + outputs) * (inputs + 1 + self._samples))

    def parts(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """The units in groups whose sums fit the memory together; one that does not fit alone is left out."""
        found: list[list[Unit]] = []
        limit, size = self.bench.memory // 2, 0
        for unit in units:
            own = self.bytes_of(unit)
            if own > limit:
                self.bench.left_out.add(unit.name)
                continue
            if not found or size + own > limit:
                found.append([])
                size = 0
            found[-1].append(unit)
            size += own
        return found

    def grams(self, units: Sequence[Unit], tapes: Tapes | None = None) -> dict[str, Gram]:
        """The sums of units of the quantized model as it is now, by their names; those that do not fit the memory are left out.

        With ``tapes``, one for each call, layers before the units are final.
        """
        found: dict[str, Gram] = {}
        with paddle.no_grad(), eval_mode(self.bench.model), eval_mode(self.bench.float_model):
            for part in self.parts(units):
                found |= self._grams(part, tapes or Tapes(0), [name for unit in units for name in unit.names])
        return found

    def _grams(self, units: Sequence[Unit], tapes: Tapes, changing: Sequence[str]) -> dict[str, Gram]:
        grams = {unit.name: Gram.empty(*unit.goal.shape) for unit in units}
        names = [name for unit in units for name in unit.names]
        twins = {name: self.bench.twins[name] for name in names}
        for number, (sample, fits) in enumerate(self.calls):
            targets = self._targets(number, names)
            uses = {name: iter(found) for name, found in targets.items()}
            left = sum(len(found) for found in targets.values())

            def look(name: str, layer: Any, x: Any, sample: Sample = sample, fits: bool = fits, uses: Any = uses) -> None:
                nonlocal left
                target = next(uses[name], None)
                if target is None:
                    return
                unit = self._units[name]
                groups = unit.goal.shape[0]
                columns = unit.layout.columns(layer.quantize_input(x).astype("float32").numpy(), target.shape, target.chosen)
                wanted = (target.results * unit.factors).reshape(len(target.chosen), groups, -1).swapaxes(0, 1).astype(np.float32)
                gram = grams[unit.name]
                (gram.add if fits else gram.hold)(columns, wanted, size_of(sample))
                left -= 1
                if left == 0:
                    raise _ReachedError

            if left:
                with tapes.playing(number, self.bench.twins, changing):
                    self._run(self.bench.model, sample, twins, look, before=True)
        return grams

    def columns(self, units: Sequence[Unit], limit: int) -> dict[str, npt.NDArray[np.float32]]:
        """What layers read in the float model at some places of the samples to fit on, ``[groups, about limit, inputs]`` by name."""
        found: dict[str, list[npt.NDArray[np.float32]]] = {unit.name: [] for unit in units}
        layers = {name: self.bench.layers[name] for unit in units for name in unit.names}

        def look(name: str, _layer: Any, x: Any, y: Any) -> None:
            unit = self._units[name]
            answer = y.astype("float32").numpy()
            count = max(1, -(-limit // len(self.fit)))
            places = unit.layout.places(answer)
            random = np.random.default_rng([self.bench.seed, zlib.crc32(name.encode()), len(found[unit.name])])
            chosen = np.sort(random.choice(places, min(count, places), replace=False))
            found[unit.name].append(unit.layout.columns(x.astype("float32").numpy(), tuple(answer.shape), chosen))

        for sample in self.fit:
            args, kwargs = sample.call()
            with paddle.no_grad(), eval_mode(self.bench.float_model), _watched_whole(layers, look):
                self.bench.float_model(*args, **kwargs)
        empty = np.zeros((0, 0, 0), dtype=np.float32)
        return {name: np.concatenate(parts, axis=1) if parts else empty for name, parts in found.items()}

    def _targets(self, number: int, names: Sequence[str]) -> Mapping[str, list[Target]]:
        """What the float model's layers answered in one call; for all layers at once where they may be kept."""
        if number in self._known:
            return {name: self._known[number].get(name, []) for name in names}
        wanted = list(self._units) if self._keeps else list(names)
        found: dict[str, list[Target]] = {name: [] for name in wanted}
        sample, _ = self.calls[number]

        def look(name: str, _layer: Any, y: Any) -> None:
            unit = self._units[name]
            answer = y.astype("float32").numpy()
            chosen = self._choose(unit, name, unit.layout.places(answer), size_of(sample), (number, len(found[name])))
            found[name].append(Target(chosen, tuple(answer.shape), np.array(unit.layout.results(answer, chosen), dtype=np.float32)))

        self._run(self.bench.float_model, sample, {name: self.bench.layers[name] for name in wanted}, look, before=False)
        if self._keeps:
            self._known[number] = found
        return {name: found[name] for name in names}

    def _choose(self, unit: Unit, name: str, places: int, samples: int, use: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Places of one call, as many in every sample, without a pattern and always the same ones."""
        each, left = divmod(places, samples)
        if left:  # no place belongs to one sample
            samples, each = 1, places
        share = -(-self._wanted(unit) * samples // max(self._samples, 1))
        count = min(each, -(-share // samples))
        starts = np.arange(samples)[:, None] * each
        if count == each:
            return np.asarray(starts + np.arange(each)[None]).reshape(-1)
        random = np.random.default_rng([self.bench.seed, zlib.crc32(name.encode()), *use])
        picked = np.sort(np.argpartition(random.random((samples, each)), count, axis=1)[:, :count], axis=1)
        return np.asarray(starts + picked).reshape(-1)

    @staticmethod
    def _run(model: nn.Layer, sample: Sample, layers: Mapping[str, nn.Layer], look: Any, *, before: bool) -> None:
        args, kwargs = sample.call()
        with _watched(layers, look, before):
            try:
                model(*args, **kwargs)
            except _ReachedError:
                return


@contextmanager
def _watched(layers: Mapping[str, nn.Layer], look: Any, before: bool) -> Iterator[None]:
    """While entered, ``look(name, layer, tensor)`` is called with each layer's input, or with its result."""

    def reads(name: str) -> Any:
        def hook(layer: nn.Layer, args: Any, kwargs: Any) -> None:
            look(name, layer, _first(layer, args, kwargs))

        return hook

    def answers(name: str) -> Any:
        def hook(layer: nn.Layer, _args: Any, answer: Any) -> None:
            look(name, layer, answer)

        return hook

    if before:
        handles = [layer.register_forward_pre_hook(reads(name), with_kwargs=True) for name, layer in layers.items()]
    else:
        handles = [layer.register_forward_post_hook(answers(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _watched_whole(layers: Mapping[str, nn.Layer], look: Any) -> Iterator[None]:
    """The same with ``look(name, layer, input, result)``."""

    def calls(name: str) -> Any:
        def hook(layer: nn.Layer, args: Any, kwargs: Any, answer: Any) -> None:
            look(name, layer, _first(layer, args, kwargs), answer)

        return hook

    handles = [layer.register_forward_post_hook(calls(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(layer: nn.Layer, args: Any, kwargs: Any) -> Any:
    return args[0] if args else kwargs[input_argument(layer.__class__)]
