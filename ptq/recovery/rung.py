"""What one step of a recipe did."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Rung"]


@dataclass(frozen=True)
class Rung:
    """What one step did: the judge's figure before and after it, whether it was kept, and how long it took.

    ``cut``: the time budget ended while it ran.  ``error``: the standard error of what it gained, see `Judge.uncertainty`.  ``inner``: what
    the layers before the outputs gained and the standard error of that, where those were asked.
    """

    step: str
    before: float
    after: float
    kept: bool
    seconds: float
    cut: bool = False
    error: float = 0.0
    inner: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.inner is not None:  # from JSON it is a list
            object.__setattr__(self, "inner", tuple(self.inner))

    def __str__(self) -> str:
        gained = f"{self.after - self.before:+.2f} ± {self.error:.2f}"
        if self.inner is not None:
            gained += f"; layers before: {self.inner[0]:+.2f} ± {self.inner[1]:.2f}"
        became = f"{self.before:.2f} -> {self.after:.2f} ({gained}), {'kept' if self.kept else 'undone'}"
        return f"{self.step}: {became} ({self.seconds:.1f} s{', cut by the time budget' if self.cut else ''})"
