"""A recipe's steps one after the other: each is judged by held-back samples, and undone where it does not surely help.

A step is kept where it gains more than twice the standard error of that gain: on a few samples, a smaller one may be chance.  Where it
gains less, it is kept if the layers before the outputs, whose results are many more numbers, gain that surely, see `witness`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .judge import Answers
from .progress_line import ProgressLine
from .recipes import STEPS, Recipe, Step
from .resume import Resume
from .rung import Rung
from .witness import gain_between, last_layers, squares_of
from .workbench import Snapshot, Workbench

__all__ = ["LadderReport", "climb"]

SURE = 2.0  # standard errors


@dataclass(frozen=True)
class LadderReport:
    """What a recipe did.

    Attributes:
        recipe: its name.
        fit, held: samples that the steps were fitted on, and those that judged.
        first, last: the judge's figures before and after.
        rungs: the steps that were tried, in order.
        reason: why the rest was not, or not for all layers.
    """

    recipe: str
    fit: int
    held: int
    first: float
    last: float
    rungs: tuple[Rung, ...] = ()
    reason: str = ""

    def lines(self) -> list[str]:
        """For people."""
        head = f"recipe {self.recipe}: {self.first:.2f} -> {self.last:.2f} on {self.held} held-back samples, fitted on {self.fit}"
        return [head, *(f"  {rung}" for rung in self.rungs), *([f"  {self.reason}"] if self.reason else [])]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


class _OutOfTimeError(Exception):
    """The time budget has ended."""


def climb(
    bench: Workbench,
    recipe: Recipe,
    *,
    time_budget: float | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda _line: None,
) -> LadderReport:
    """Tries the steps of a recipe on a workbench and leaves it in the best state that was seen.

    Args:
        bench: what is worked on, in place.
        recipe: the steps.
        time_budget: seconds, after which nothing more is tried; a step that runs then is ended and judged as it is.
        resume: path of a file that is written after every step; with one of the same recipe, model and samples its steps are not run again.
        progress: show what is done, where stderr is a terminal.
        say: is told what each step gained.

    Raises:
        CalibrationError: the file of ``resume`` belongs to something else; ``CorruptArtifactError``: it is damaged.
    """
    start = time.monotonic()
    line = ProgressLine(progress)
    bench.report = _reporter(line, None if time_budget is None else start + time_budget)
    answers = bench.answers()
    first = bench.judge.figure(answers)
    record = Resume(bench, recipe, resume)
    rungs: list[Rung] = list(record.rungs)
    if rungs:
        answers = bench.answers()
    score = bench.judge.figure(answers)
    reason = ""
    steps = [step for step in recipe.steps if not step.below or bench.fewest_bits < step.below]
    for step in steps[len(rungs) :]:
        if recipe.stop_at is not None and score >= recipe.stop_at:
            reason = f"{score:.2f} is enough, so the rest was not tried"
            break
        if time_budget is not None and time.monotonic() - start >= time_budget:
            reason = f"the time budget of {time_budget:g} s ended before all steps were tried"
            break
        rung, answers = _try(bench, step, answers)
        line.clear()
        say(str(rung))
        rungs.append(rung)
        score = rung.after if rung.kept else score
        record.write(rungs)
    bench.report = ProgressLine(False)
    if bench.left_out:
        reason = "; ".join(filter(None, [reason, f"too large for the memory, left as they were: {', '.join(sorted(bench.left_out))}"]))
    return LadderReport(recipe.name, bench.count(bench.fit), bench.count(bench.held), first, score, tuple(rungs), reason)


def _try(bench: Workbench, step: Step, before: Answers) -> tuple[Rung, Answers]:
    """What the step did, and the answers of the model as it is then."""
    start, cut = time.monotonic(), False
    state: Snapshot = bench.snapshot()
    try:
        STEPS[step.name].run(bench, step.settings)
    except _OutOfTimeError:
        cut = True
    after, judge = bench.answers(), bench.judge
    first, second, error = judge.figure(before), judge.figure(after), judge.uncertainty(before, after)
    inner = _inner(bench, state) if 0 < second - first <= SURE * error and last_layers(bench) else None
    helps = second > first and any(gain > SURE * doubt for gain, doubt in filter(None, ((second - first, error), inner)))
    if not helps:
        bench.restore(state)
    return Rung(str(step), first, second, helps, time.monotonic() - start, cut, error, inner), after if helps else before


def _inner(bench: Workbench, state: Snapshot) -> tuple[float, float]:
    """What the layers before the outputs have gained since that state, and the standard error of it."""
    now, after = bench.snapshot(), squares_of(bench)
    bench.restore(state)
    before = squares_of(bench)
    bench.restore(now)
    return gain_between(before, after)


def _reporter(line: ProgressLine, deadline: float | None) -> Callable[[str, int, int], None]:
    def report(what: str, done: int, total: int) -> None:
        line(what, done, total)
        if deadline is not None and time.monotonic() > deadline:
            raise _OutOfTimeError

    return report
