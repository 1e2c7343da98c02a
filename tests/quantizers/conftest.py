"""Lets the tests of this folder import their oracle and strategies however pytest was started."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

_HERE = Path(__file__).resolve().parent
for _folder in (str(_HERE.parents[1]), str(_HERE)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

settings.register_profile("quantizers", deadline=None, max_examples=60)
settings.load_profile("quantizers")
