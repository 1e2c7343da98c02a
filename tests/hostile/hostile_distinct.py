"""Which cases are one misuse tried on several things: those that the same line of the project answers with the same class of error."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import NamedTuple

__all__ = ["Happened", "distinct", "refused_by", "same_but_for_names"]

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("ptq", "quantizers")
# Text in quotes, paths, names with dots, and figures: what differs between two cases of one misuse.
NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\S*[/.]\S+|\b\S*\d\S*")


class Happened(NamedTuple):
    """One case: its group and name, the error or warning as text, and what answered it."""

    group: str
    case: str
    outcome: str
    answered_by: str


def refused_by(error: BaseException | None) -> str:
    """Class of the error, and file and line of the project that raised it; empty where none did."""
    if error is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    return f"{type(error).__name__} in {Path(frames[-1].filename).relative_to(PROJECT)}:{frames[-1].lineno}" if frames else ""


def _is_ours(file: str) -> bool:
    path = Path(file)
    return path.is_relative_to(PROJECT) and path.relative_to(PROJECT).parts[0] in PACKAGES


def same_but_for_names(message: str) -> str:
    """A message of which two cases of one misuse share all that is left."""
    return NAMES.sub("…", message)


def distinct(rows: list[Happened]) -> int:
    """In how many ways the cases were answered."""
    return len({row.answered_by for row in rows})
