"""Which layers to leave float: by what that does to the model's output, greedily, measured anew after every choice."""

from __future__ import annotations

from dataclasses import dataclass

from .judge import Judge
from .macs import count_macs
from .samples import pieces
from .switches import Switches
from .workbench import Workbench

__all__ = ["FloatLayers", "choose_float_layers"]

SAMPLES = 32
AGAIN = 6  # of the best candidates, so many are measured anew after a choice


@dataclass(frozen=True)
class FloatLayers:
    """What was chosen: names, their share of the multiply-accumulates, and the judge's figures before and with them float."""

    names: tuple[str, ...]
    share: float
    before: float
    after: float

    def __str__(self) -> str:
        listed = ", ".join(self.names) or "none"
        return f"left float, {self.share:.1%} of the multiply-accumulates: {listed} ({self.before:.2f} -> {self.after:.2f})"


def choose_float_layers(bench: Workbench, max_macs: float) -> FloatLayers:
    """The layers whose rounding costs most for their multiply-accumulates, within a share of the model's.

    Every candidate is judged on a few samples to fit on with its weights and what it reads unrounded.  The one of most gain for its size
    is taken, and the best of the others are judged anew with it float, since layers hide each other's errors.

    Args:
        bench: left as it is.
        max_macs: share of the multiply-accumulates of all layers with weights, 0 to 1.
    """
    samples = [part for sample in bench.fit for part in pieces(sample, SAMPLES)]
    kept, size = [], 0
    for sample in samples:
        kept.append(sample)
        size += bench.count([sample])
        if size >= SAMPLES:
            break
    judge, switches = Judge(bench.float_model, kept, bench.metric), Switches(bench)
    macs = count_macs(bench.float_model, {name: bench.layers[name] for name in switches.layers}, kept[:1])
    total = max(sum(macs.values()), 1)
    left = max_macs * total
    chosen: list[str] = []

    def score(names: list[str]) -> float:
        on = [name for name in switches.layers if name not in names]
        needed = {grid for name in on for grid in switches.grids[name]} | set(switches.others)
        return switches.score(on, needed, judge)

    before = now = score([])
    gains: dict[str, float] = {}
    candidates = [name for name in switches.layers if 0 < macs[name] <= left]
    for number, name in enumerate(candidates):
        bench.report("layers to leave float", number, len(candidates))
        gains[name] = score([name]) - now
    while True:
        ranked = sorted((name for name in gains if macs[name] <= left), key=lambda name: -gains[name] / macs[name])
        if chosen:
            for name in ranked[:AGAIN]:
                gains[name] = score([*chosen, name]) - now
            ranked.sort(key=lambda name: -gains[name] / macs[name])
        if not ranked or gains[ranked[0]] <= 0:
            break
        best = ranked[0]
        chosen.append(best)
        left -= macs[best]
        now += gains.pop(best)
    now = score(chosen) if chosen else before
    return FloatLayers(tuple(chosen), sum(macs[name] for name in chosen) / total, before, now)
