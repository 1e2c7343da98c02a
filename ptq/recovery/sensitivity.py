"""`sensitivity`: what the rounding of each layer costs at the model's output, alone and as one of all, weights and activations apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paddle import nn

from ..calibration.batches import call_of, required_inputs
from ..calibration.run import calibrate
from ..config.config import PTQConfig
from ..imperative import ImperativePTQ
from ..util.json_file import write_json
from .judge import Judge, Metric, mean_sqnr
from .macs import count_macs
from .progress_line import ProgressLine
from .samples import keep, pieces
from .switches import Switches
from .workbench import MEMORY, Workbench

__all__ = ["LayerSensitivity", "Sensitivity", "sensitivity"]

FORMAT, VERSION = "paddle-ptq sensitivity", 1


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer: figures of the judge, by default dB of the outputs, larger is better.

    Attributes:
        name, kind: the layer's name and class, or the site of an activation grid that no layer reads.
        macs: multiply-accumulates for one call of the first samples.
        weight, activation, both: with nothing rounded in the model but its weight, what it reads, or both.
        without: with all rounded but this layer.
    """

    name: str
    kind: str
    macs: int
    weight: float
    activation: float
    both: float
    without: float


@dataclass(frozen=True)
class Sensitivity:
    """What every layer costs.

    Attributes:
        layers: in the order of the model.
        everything: the judge's figure of the quantized model.
        weights, activations: with only its weights, or only its activations, rounded.
        samples: how many judged.
    """

    layers: tuple[LayerSensitivity, ...]
    everything: float
    weights: float
    activations: float
    samples: int

    def worst(self) -> list[LayerSensitivity]:
        """The layers, most costly alone first."""
        return sorted(self.layers, key=lambda row: row.both)

    def lines(self, count: int | None = None) -> list[str]:
        """A table for people, most costly first; ``count``: of so many layers."""
        rows = self.worst()[:count]
        width = max([len(row.name) for row in rows], default=5)
        head = (
            f"everything rounded {self.everything:.2f}, weights only {self.weights:.2f}, activations only {self.activations:.2f} "
            f"({self.samples} samples)"
        )
        title = f"{'layer':{width}}  {'alone':>7}  {'weight':>7}  {'input':>7}  {'without':>8}  {'macs':>13}"
        cells = [
            f"{row.name:{width}}  {row.both:7.2f}  {row.weight:7.2f}  {row.activation:7.2f}  {row.without:8.2f}  {row.macs:13,}"
            for row in rows
        ]
        return [head, title, *cells]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"format": FORMAT, "version": VERSION, **asdict(self), "layers": [asdict(row) for row in self.layers]}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures to a JSON file; raises ``ArtifactError`` where that cannot be written."""
        write_json(path, self.to_dict())


def sensitivity(
    model: nn.Layer,
    data: Iterable[Any],
    config: PTQConfig | None = None,
    *,
    metric: Metric | None = None,
    input_fn: Callable[[Any], Any] | None = None,
    max_samples: int = 64,
    fuse: bool = True,
    memory: int = MEMORY,
    progress: bool = True,
) -> Sensitivity:
    """What the rounding of each layer costs at the model's output; the model is left as it was.

    Args:
        model: a float model.
        data: calibration batches, as for `calibrate`; the first ``max_samples`` of them also judge.
        config: quantizers and settings; ``PTQConfig()`` when ``None``.
        metric: of the float model's and the quantized model's answers, see `ptq.recovery.judge`; the mean SQNR of the outputs by default.
        input_fn: makes of a batch what to pass instead, see `calibrate`.
        max_samples: how many samples judge, at most; every layer costs four passes over them.
        fuse: fold batch norms first.
        memory: bytes of samples that may be kept.
        progress: show progress where stderr is a terminal.

    Raises:
        As `ImperativePTQ.quantize` and `calibrate`.
    """
    bench = bench_of(model, data, config, metric=metric, input_fn=input_fn, fuse=fuse, memory=memory, progress=progress)
    return measure(bench, max_samples, progress)


def bench_of(
    model: nn.Layer,
    data: Iterable[Any],
    config: PTQConfig | None,
    *,
    metric: Metric | None,
    input_fn: Callable[[Any], Any] | None,
    fuse: bool,
    memory: int,
    progress: bool,
) -> Workbench:
    """A model, quantized and calibrated, on the workbench."""
    engine = ImperativePTQ(PTQConfig() if config is None else config)
    prepared = engine.quantize(model, fuse=fuse)
    inputs = required_inputs(model)
    batches = list(data)
    calibrate(prepared, batches, input_fn=input_fn, progress=progress)
    calls = (call_of(batch if input_fn is None else input_fn(batch), None if input_fn is not None else inputs) for batch in batches)
    samples = keep(calls, memory // 2)
    return Workbench(engine.convert(prepared), samples, metric or mean_sqnr, memory)


def measure(bench: Workbench, max_samples: int, progress: bool = True) -> Sensitivity:
    """The figures of a workbench's model as it is."""
    judges = first_samples(bench.samples, max_samples)
    judge, switches, line = Judge(bench.float_model, judges, bench.metric), Switches(bench), ProgressLine(progress)
    layers, grids = set(switches.layers), switches.all_inputs()
    macs = count_macs(bench.float_model, {name: bench.layers[name] for name in switches.layers}, judges[:1])
    everything = switches.score(layers, grids, judge)
    weights, activations = switches.score(layers, (), judge), switches.score((), grids, judge)
    rows, names = [], [*switches.layers, *switches.others]
    for number, name in enumerate(names):
        line("sensitivity", number, len(names))
        own = {name} & layers
        reads = set(switches.grids.get(name, [name]))
        nothing: set[str] = set()
        parts = ((own, nothing), (nothing, reads), (own, reads), (layers - own, grids - reads))
        figures = [switches.score(on, inputs, judge) for on, inputs in parts]
        site = bench.state.layers[name].site if name in bench.state.layers else name
        kind = type(bench.layers[name]).__name__
        rows.append(LayerSensitivity(name if own else site, kind, macs.get(name, 0), *figures))
    line.clear()
    return Sensitivity(tuple(rows), everything, weights, activations, bench.count(judges))


def first_samples(samples: Sequence[Any], count: int) -> list[Any]:
    """Calls of about so many samples, the first ones."""
    found, left = [], count
    for sample in samples:
        part = pieces(sample, max(left, 1))[0]
        found.append(part)
        left -= Workbench.count([part])
        if left <= 0:
            break
    return found
