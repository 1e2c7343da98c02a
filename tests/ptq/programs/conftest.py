"""Lets the tests of this folder import their helpers however pytest was started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)


@pytest.fixture(scope="session")
def legacy_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a `Mixed` that was saved as a legacy program; copy it to change it."""
    from program_nets import save_legacy

    prefix = tmp_path_factory.mktemp("legacy") / "model"
    save_legacy(prefix)
    return prefix
