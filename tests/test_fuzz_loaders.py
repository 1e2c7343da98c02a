"""The first inputs of `fuzz_loaders`, the same on every machine; PTQ_FUZZ_SECONDS goes on with more."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from quantizers.errors import CorruptArtifactError

SECONDS = float(os.environ.get("PTQ_FUZZ_SECONDS", "0"))
INPUTS = 300


@pytest.fixture
def fuzzer() -> ModuleType:
    path = Path(__file__).with_name("fuzz_loaders.py")
    spec = importlib.util.spec_from_file_location("fuzz_loaders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_files_are_refused_by_name_or_read_as_they_are(fuzzer: ModuleType) -> None:
    counts = fuzzer.fuzz(SECONDS, least=INPUTS)
    assert sum(counts.values()) >= INPUTS
    assert {what.split(",")[0] for what, _ in counts} == {"calibration", "config"}
    assert {"accepted", "CorruptArtifactError", "ConfigError"} <= {outcome for _, outcome in counts}


@pytest.mark.parametrize("wrong", [KeyError("state"), MemoryError(), AssertionError()])
def test_anything_else_is_reported_with_its_number(fuzzer: ModuleType, wrong: Exception) -> None:
    def load(_data: bytes, _folder: Path) -> None:
        raise wrong

    make, _, spoils = fuzzer.TARGETS["config"]
    fuzzer.TARGETS["config"] = make, load, spoils
    with pytest.raises(AssertionError, match=f"--seed 3 --first 7: {type(wrong).__name__}"):
        fuzzer.fuzz(0, seed=3, first=7)


def test_memory_is_measured(fuzzer: ModuleType) -> None:
    def load(_data: bytes, _folder: Path) -> None:
        bytearray(30 << 20)
        raise CorruptArtifactError

    make, _, spoils = fuzzer.TARGETS["calibration"]
    fuzzer.TARGETS["calibration"] = make, load, spoils
    with pytest.raises(AssertionError, match=r"--first 0: MemoryError: 3\d{7} bytes for a file of"):
        fuzzer.fuzz(0)
