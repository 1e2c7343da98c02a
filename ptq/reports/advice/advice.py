"""The words of advice: what rules look at and what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ..accuracy import LayerRecord
from ..compare.report import Difference
from ..coverage import Ledger

__all__ = ["Advice", "Evidence", "Text", "db", "harm", "layer_of", "leave_float", "override", "quoted"]


class Text(NamedTuple):
    """A sentence in English and in Chinese."""

    en: str
    zh: str


@dataclass(frozen=True)
class Evidence:
    """What rules look at.

    Attributes:
        layers: of the report, in order of execution.
        outputs: the answers of the quantized model against the float model's.
        placement: of the quantized model, empty where it is not known.
        calibrated: samples that it was calibrated with, ``None`` where that is not known.
        coverage: what became of every operation, ``None`` where that is not known.
    """

    layers: Sequence[LayerRecord]
    outputs: Sequence[Difference] = ()
    placement: str = ""
    calibrated: int | None = None
    coverage: Ledger | None = None

    @property
    def output_db(self) -> float | None:
        """The least SQNR of the outputs."""
        return min((output.sqnr_db for output in self.outputs), default=None)

    @property
    def measured(self) -> list[LayerRecord]:
        """Layers that compute in int8 and whose own error is known."""
        return [layer for layer in self.layers if layer.alone_db is not None and (layer.input_db, layer.weight_db) != (None, None)]


@dataclass(frozen=True)
class Advice:
    """One finding.

    Attributes:
        rule: its name in `RULES`.
        layers: names of the layers that it is about; empty for the model as a whole.
        weight: how much of the error, or of the time, it is about, larger is more; findings are sorted by it.
        evidence, reason, action: what was seen, why that matters, what to do.
        code: the action as a line of code or an option; empty where there is none.
    """

    rule: str
    layers: tuple[str, ...]
    weight: float
    evidence: Text
    reason: Text
    action: Text
    code: str = ""

    def __str__(self) -> str:
        where = ", ".join(self.layers[:4]) + (f" and {len(self.layers) - 4} more" if len(self.layers) > 4 else "")
        lines = [f"{self.rule}: {where or 'the model'}: {self.evidence.en}; {self.reason.en}", f"  -> {self.action.en}"]
        return "\n".join([*lines, *([f"     {self.code}"] if self.code else [])])

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        texts = {name: getattr(self, name)._asdict() for name in ("evidence", "reason", "action")}
        return {**asdict(self), **texts, "layers": list(self.layers)}


def db(value: float | None) -> str:
    """``31.4 dB``."""
    return "-" if value is None else f"{value:.1f} dB"


def harm(layer: LayerRecord) -> float:
    """How many dB a layer's own error lies above that of a layer that does no harm (40 dB)."""
    return 0.0 if layer.alone_db is None else min(100.0, max(0.0, 40.0 - layer.alone_db))


def quoted(name: str) -> str:
    """A name as it stands in code."""
    return json.dumps(name)


def leave_float(*names: str) -> str:
    """The line that leaves layers float."""
    return f"PTQConfig(overrides={{{', '.join(f'{quoted(name)}: None' for name in names)}}})"


def override(name: str, change: str) -> str:
    """The line that changes settings of one layer."""
    return f"PTQConfig(overrides={{{quoted(name)}: QuantOverride({change})}})"


def layer_of(place: str) -> str:
    """The layer of a call: ``conv`` of its second call ``conv@1``."""
    return place.split("@")[0]
