"""Lets the tests of this folder import their helpers however pytest was started; an unexpected warning of the engine fails a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle
import pytest

_HERE = Path(__file__).resolve().parent
for _folder in (str(_HERE.parents[1]), str(_HERE)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error::quantizers.errors.QuantizationWarning"))


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    """Every test sees the same random weights, and leaves dynamic mode on."""
    paddle.seed(0)
    np.random.seed(0)
    yield
    assert paddle.in_dynamic_mode(), "the test left static mode on"
