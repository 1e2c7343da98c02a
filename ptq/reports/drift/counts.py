"""What was counted outside of the calibrated ranges, and whether that is more than chance."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from scipy import stats

from quantizers.errors import ConfigError, CorruptArtifactError

from ...util.json_file import read_json, write_json

__all__ = ["Drift", "TensorCounts"]

FORMAT, VERSION = "paddle-ptq drift", 1
# The chance that data of the same kind is flagged, over all tensors together.
ERROR = 1e-3


@dataclass(frozen=True)
class TensorCounts:
    """One tensor: the input of a layer, or an activation with a grid.

    Attributes:
        name: of the layer in the model.
        low, high: the range that calibration saw; ``calibrated``: in so many samples.
        samples, samples_outside: how many were looked at, and how many of them had a value outside of the range.
        values, values_outside: the same of their elements.
        reach: the largest excess over the range, in widths of the range.
    """

    name: str
    low: float
    high: float
    calibrated: int
    samples: int = 0
    samples_outside: int = 0
    values: int = 0
    values_outside: int = 0
    reach: float = 0.0

    @property
    def chance(self) -> float:
        """How likely so many samples outside are, or more, where new samples are of the same kind as those of calibration.

        The share of a population outside the range of N samples of it follows Beta(2, N - 1), whatever the distribution (Wilks, 1941,
        "Determination of sample sizes for setting tolerance limits"); so the count among n new ones is beta-binomial.
        """
        if not self.samples_outside:
            return 1.0
        return float(stats.betabinom.sf(self.samples_outside - 1, self.samples, 2, max(self.calibrated - 1, 1)))

    def plus(self, other: TensorCounts) -> TensorCounts:
        """Both counts together; raises ``ConfigError`` when the other is of another range."""
        if (self.name, self.low, self.high, self.calibrated) != (other.name, other.low, other.high, other.calibrated):
            raise ConfigError(f"counts of {self.name!r} and {other.name!r} are of other calibrations and cannot be merged")
        return replace(
            self,
            samples=self.samples + other.samples,
            samples_outside=self.samples_outside + other.samples_outside,
            values=self.values + other.values,
            values_outside=self.values_outside + other.values_outside,
            reach=max(self.reach, other.reach),
        )


@dataclass(frozen=True)
class Drift:
    """What a watch has counted so far; ``str(drift)`` is for logs.

    Attributes:
        tensors: one entry each, by name.
        calls: how many calls of the model were observed; ``replayed``: how many of them were replayed.
    """

    tensors: Mapping[str, TensorCounts]
    calls: int = 0
    replayed: int = 0

    @property
    def flagged(self) -> list[TensorCounts]:
        """Tensors whose counts are no chance, the least likely first."""
        limit = ERROR / max(len(self.tensors), 1)
        found = [(counts.chance, counts) for counts in self.tensors.values() if counts.chance < limit]
        return [counts for _, counts in sorted(found, key=lambda item: (item[0], -item[1].reach))]

    @property
    def needs_calibration(self) -> bool:
        """Whether to calibrate again, with samples of what is seen now."""
        return bool(self.flagged)

    @classmethod
    def merge(cls, parts: Iterable[Drift]) -> Drift:
        """The counts of several processes together.

        Raises:
            ConfigError: there are none, or they are of other models or calibrations.
        """
        found = list(parts)
        if not found or any(part.tensors.keys() != found[0].tensors.keys() for part in found):
            raise ConfigError("merge needs drifts of one model and one calibration, at least one")
        tensors = dict(found[0].tensors)
        for part in found[1:]:
            tensors = {name: counts.plus(part.tensors[name]) for name, counts in tensors.items()}
        return cls(tensors, sum(part.calls for part in found), sum(part.replayed for part in found))

    def lines(self) -> list[str]:
        """For people: whether to calibrate again, and why."""
        head = f"{self.replayed} of {self.calls} calls replayed, {len(self.tensors)} tensors watched: "
        flagged = self.flagged
        if not flagged:
            return [head + "as in calibration"]
        lines = [head + f"{len(flagged)} leave their calibrated ranges; calibrate again with samples of these data"]
        for counts in flagged[:10]:
            share = counts.samples_outside / counts.samples
            lines.append(
                f"  {counts.name or '(model)'}: {share:.1%} of {counts.samples} samples beyond {counts.low:.4g} .. {counts.high:.4g}, "
                f"{counts.values_outside / counts.values:.2%} of the values, by up to {counts.reach:.0%} of the range"
            )
        return lines + ([f"  and {len(flagged) - 10} more"] if len(flagged) > 10 else [])

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` gives an equal object."""
        tensors = [asdict(counts) for counts in self.tensors.values()]
        return {"format": FORMAT, "version": VERSION, "calls": self.calls, "replayed": self.replayed, "tensors": tensors}

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file, as a whole or not at all; raises ``ArtifactError`` when it cannot be written."""
        write_json(path, self.to_dict())

    @classmethod
    def from_dict(cls, content: Any) -> Drift:
        """What `to_dict` gave; raises ``CorruptArtifactError`` for anything else."""
        try:
            if content["format"] != FORMAT or content["version"] != VERSION:
                raise ValueError(f"it is no {FORMAT} of version {VERSION}")
            tensors = [
                TensorCounts(**{field.name: _typed(item[field.name], field.type) for field in fields(TensorCounts)})
                for item in content["tensors"]
            ]
            return cls({counts.name: counts for counts in tensors}, int(content["calls"]), int(content["replayed"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifactError(f"these are no counts of drift: {error}") from error

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Drift:
        """What `to_json` wrote; raises ``ArtifactError`` for a file that cannot be read."""
        return cls.from_dict(read_json(path))


def _typed(value: Any, kind: Any) -> Any:
    expected: Any = {"str": str, "int": int, "float": (int, float)}[str(kind)]
    if not isinstance(value, expected) or isinstance(value, bool):
        raise ValueError(f"{value!r} is no {kind}")
    return value
