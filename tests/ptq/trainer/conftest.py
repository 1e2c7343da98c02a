"""A small data set and a configuration, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, labels, list files and ``small.yml``."""
    pytest.importorskip("PIL")
    pytest.importorskip("yaml")
    from trainer_cases import write_streets

    folder = tmp_path_factory.mktemp("streets")
    write_streets(folder)
    return folder
