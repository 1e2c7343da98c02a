"""Findings, and the report that lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, overload

__all__ = ["CheckReport", "Finding", "Severity", "listed", "merged"]

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
PLURALS: dict[Severity, str] = {"error": "errors", "warning": "warnings", "info": "info"}


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        severity: ``error``: quantizing, calibrating or saving this model will be refused or fail; ``warning``: it works, and the
            result is probably not what the user wants; ``info``: good to know.
        layer: path of the layer, or of the place in it, empty for the model as a whole.
        code: a short word that stays the same from version to version.
        message: what it means.
        advice: what to do.
    """

    severity: Severity
    layer: str
    code: str
    message: str
    advice: str


class CheckReport(Sequence[Finding]):
    """The findings of one check, errors first.

    Args:
        model: name of the model's class.
        findings: in any order.
    """

    def __init__(self, model: str, findings: Iterable[Finding]) -> None:
        self.model = model
        self._findings = tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...

    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    @property
    def errors(self) -> list[Finding]:
        """Findings for which quantizing, calibrating or saving will fail."""
        return self._of("error")

    @property
    def warnings(self) -> list[Finding]:
        """Findings that probably spoil the result."""
        return self._of("warning")

    def _of(self, severity: Severity) -> list[Finding]:
        return [finding for finding in self._findings if finding.severity == severity]

    def lines(self) -> list[str]:
        """A table, two lines a finding; findings that differ in nothing but the layer are one."""
        counts = Counter(finding.severity for finding in self._findings)
        found = ", ".join(
            f"{counts[severity]} {plural if counts[severity] > 1 else severity}" for severity, plural in PLURALS.items() if counts[severity]
        )
        lines = [f"{self.model}: {found or 'nothing found'}"]
        width = max((len(finding.code) for finding in self._findings), default=0)
        for finding, layers in merged(self._findings):
            lines.append(f"{finding.severity:7}  {finding.code:{width}}  {listed(layers) or '(model)'}: {finding.message}")
            lines.append(f"{'':7}  {'':{width}}  -> {finding.advice}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"CheckReport({self.model!r}, {list(self._findings)!r})"

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON values."""
        return {"version": 1, "model": self.model, "findings": [asdict(finding) for finding in self._findings]}


def merged(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """The first of those findings that differ in nothing but the layer, with all their layers."""
    layers: dict[tuple[str, ...], list[str]] = {}
    first: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        key = (finding.severity, finding.code, finding.message, finding.advice)
        first.setdefault(key, finding)
        layers.setdefault(key, []).append(finding.layer)
    return [(finding, layers[key]) for key, finding in first.items()]


def listed(layers: Sequence[str]) -> str:
    """The first five names, and how many more there are; empty for the model as a whole."""
    names = [name for name in layers if name]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
