"""Programs that are saved once; the helpers of this folder are importable however pytest was started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.insert(0, _HERE)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders by what is in them: ``json``, ``pdmodel`` and ``lenet``, each with ``model.*``."""
    from slim_programs import save_legacy_small, save_lenet, save_small

    folders = {name: tmp_path_factory.mktemp(name) for name in ("json", "pdmodel", "lenet")}
    save_small(str(folders["json"] / "model"))
    save_legacy_small(folders["pdmodel"] / "model")
    save_lenet(folders["lenet"] / "model")
    return folders
