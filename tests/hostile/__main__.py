"""``python -m tests.hostile`` runs every case and prints the table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([str(Path(__file__).parent / "test_hostile.py"), "-q", "-s", "-p", "no:cacheprovider", *sys.argv[1:]]))
