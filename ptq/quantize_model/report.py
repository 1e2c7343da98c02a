"""What `quantize_model` did: what the check found, what was calibrated, what became of every operation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..recovery.ladder import LadderReport
from ..reports.check import CheckReport
from ..reports.coverage import Ledger
from ..tuning import TuningReport
from ..util.json_file import write_json

__all__ = ["QuantizeReport"]

FORMAT, VERSION = "paddle-ptq quantization", 1


@dataclass(frozen=True)
class QuantizeReport:
    """What happened between the float model and the quantized one; ``str(report)`` is for people.

    Attributes:
        source: the path of the saved program, or the name of the model's class.
        placement: which tensors have grids; target: the runtime that they are for.
        check: what stood in the way, found before anything was done.
        samples: how many samples were calibrated with: first dimensions of the first input, added up; a scalar input counts as one.
        batches: how many calls of the model that were.
        coverage: what became of every operation.
        seconds: how long each step took: ``load``, ``check``, ``quantize``, ``calibrate``, ``convert``, ``float layers``, ``fastest``,
            ``recover``.
        recovery: what the recipe did; ``None`` where none was run.
        tuning: what was measured for placement ``fastest``; ``None`` with another.
        notes: why something that was asked for was not done, and which layers were left float.
    """

    source: str
    placement: str
    check: CheckReport
    samples: int
    batches: int
    coverage: Ledger
    seconds: dict[str, float]
    target: str = "any"
    recovery: LadderReport | None = None
    notes: tuple[str, ...] = ()
    tuning: TuningReport | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the parameters as they are stored."""
        return self.coverage.bytes

    @property
    def float_bytes(self) -> int:
        """Bytes of the same parameters in float."""
        return self.coverage.float_bytes

    def lines(self, coverage: bool = True) -> list[str]:
        """The report for people; ``coverage``: with what became of the operations."""
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        runtime = "" if self.target == "any" else f" for {self.target}"
        calibrated = f"calibrated with {self.samples} samples in {self.batches} batches ({steps})"
        return [
            f"{self.source}: placement {self.placement}{runtime}, {calibrated}",
            *(f"  {line}" if number else f"check of {line}" for number, line in enumerate(self.check.lines())),
            *(() if self.tuning is None else self.tuning.lines()),
            *(() if self.recovery is None else self.recovery.lines()),
            *self.notes,
            *(self.coverage.lines() if coverage else ()),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "source": self.source,
            "placement": self.placement,
            "target": self.target,
            "calibrated": {"samples": self.samples, "batches": self.batches},
            "bytes": self.bytes,
            "float_bytes": self.float_bytes,
            "seconds": self.seconds,
            "check": self.check.to_dict(),
            "recovery": None if self.recovery is None else self.recovery.to_dict(),
            "notes": list(self.notes),
            "tuning": None if self.tuning is None else self.tuning.to_dict(),
            "coverage": self.coverage.to_dict(),
        }

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the report to a JSON file, as a whole or not at all.

        Raises:
            ConfigError: ``path`` is no path.
            ArtifactError: the file cannot be written.
        """
        write_json(path, self.to_dict())
