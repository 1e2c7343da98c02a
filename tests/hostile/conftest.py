"""Lets the tests of this folder import their tables and the helpers of ``tests/ptq``, and prints what happened in every case."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
for _folder in (str(_HERE.parents[1]), str(_HERE.parent / "ptq"), str(_HERE)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

from hostile_distinct import Happened, distinct  # noqa: E402
from hostile_saved import saved_models  # noqa: E402


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the quantized models ``a`` and ``b``, which differ, and the float models ``float_a`` and ``float_b``."""
    return saved_models(tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="session")
def happened() -> Iterator[list[Happened]]:
    """What happened in each case; printed in the end, which ``-s`` shows."""
    rows: list[Happened] = []
    yield rows
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    print(f"\n{len(rows)} cases, answered in {distinct(rows)} distinct ways")
    for row in rows:
        print(f"{row.group:{widths[0]}}  {row.case:{widths[1]}}  {row.outcome}")
