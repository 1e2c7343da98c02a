"""What a call of `quantize_model` asks of recoveries: its arguments, checked before minutes of work, and how they are carried out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..calibration.seen import Sample
from ..recovery.float_layers import FloatLayers, choose_float_layers
from ..recovery.judge import Metric, mean_sqnr
from ..recovery.ladder import LadderReport, climb
from ..recovery.progress_line import ProgressLine
from ..recovery.recipes import Recipe, recipe_named
from ..recovery.samples import JUDGES
from ..recovery.workbench import Workbench

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The arguments of `quantize_model` that concern recoveries."""

    recipe: Recipe | None
    max_float_macs: float
    metric: Metric
    time_budget: float | None
    seed: int
    resume: str | os.PathLike[str] | None
    memory: int
    progress: bool

    @classmethod
    def of(
        cls,
        recipe: str | os.PathLike[str] | Recipe | Mapping[str, Any] | None,
        max_float_macs: float,
        metric: Metric | None,
        time_budget: float | None,
        seed: int,
        resume: str | os.PathLike[str] | None,
        memory: int,
        progress: bool,
    ) -> Plan:
        """The arguments, checked; raises ``ConfigError`` for what is out of range."""
        if isinstance(max_float_macs, bool) or not isinstance(max_float_macs, (int, float)) or not 0 <= max_float_macs <= 1:
            raise ConfigError(f"max_float_macs must be a share from 0 to 1, got {max_float_macs!r}")
        if metric is not None and not callable(metric):
            raise ConfigError(f"metric must be a function of both models' answers, got {metric!r}")
        if time_budget is not None and (not isinstance(time_budget, (int, float)) or not time_budget >= 0):
            raise ConfigError(f"time_budget must be a number of seconds or None, got {time_budget!r}")
        if type(seed) is not int or seed < 0:
            raise ConfigError(f"seed must be a whole number from 0 up, got {seed!r}")
        if type(memory) is not int or memory < 1 << 20:
            raise ConfigError(f"memory must be a whole number of bytes, at least {1 << 20}, got {memory!r}")
        found = None if recipe is None else recipe_named(recipe)
        return cls(found, float(max_float_macs), metric or mean_sqnr, time_budget, seed, resume, memory, progress)

    @property
    def needs_samples(self) -> bool:
        """Whether anything is recovered at all."""
        return self.recipe is not None or self.max_float_macs > 0

    def has_enough(self, samples: Sequence[Sample], notes: list[str]) -> bool:
        """Whether there are samples enough to fit on and to judge by; if not, ``notes`` gets a line that says so."""
        count = Workbench.count(samples)
        if count >= 2 * JUDGES:
            return True
        notes.append(f"no recovery was tried: {count} samples, of which {JUDGES} would have to judge; give {2 * JUDGES} or more")
        return False

    def float_layers(self, model: nn.Layer, samples: Sequence[Sample]) -> FloatLayers:
        """Which layers of a converted model to leave float."""
        bench, line = self._bench(model, samples), ProgressLine(self.progress)
        bench.report = line
        found = choose_float_layers(bench, self.max_float_macs)
        line.clear()
        return found

    def climb(self, model: nn.Layer, samples: Sequence[Sample]) -> LadderReport:
        """Runs the recipe on a converted model, in place."""
        if self.recipe is None:
            raise TypeError("there is no recipe")
        bench = self._bench(model, samples)
        say = (lambda line: print(line, flush=True)) if self.progress else (lambda _line: None)
        return climb(bench, self.recipe, time_budget=self.time_budget, resume=self.resume, progress=self.progress, say=say)

    def _bench(self, model: nn.Layer, samples: Sequence[Sample]) -> Workbench:
        return Workbench(model, samples, self.metric, self.memory, self.seed)
