"""Which processors have int8 dot products, and which weights saturate on the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptq.export.saturation import halved, may_saturate
from ptq.runtimes.cpu import this_cpu


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags : fpu avx_vnni\n", True),
        ("flags : fpu amx_tile amx_int8\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features : fp asimd asimddp\n", None),
    ],
)
def test_vnni_from_the_processor_flags(tmp_path: Path, text: str, expected: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert this_cpu(tmp_path / "cpuinfo").has_vnni is expected


def test_vnni_is_unknown_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert this_cpu(tmp_path / "cpuinfo").has_vnni is None


def test_the_first_processor_is_named(tmp_path: Path) -> None:
    text = "processor : 0\nmodel name\t: Some: CPU\nflags : sse avx2\n\nprocessor : 1\nmodel name\t: Other\nflags : avx512_vnni\n"
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    cpu = this_cpu(tmp_path / "cpuinfo")
    assert (cpu.name, cpu.has_vnni, cpu.saturates) == ("Some: CPU", False, True)
    assert "Some: CPU" in str(cpu)


def test_unknown_is_not_taken_for_saturating(tmp_path: Path) -> None:
    assert not this_cpu(tmp_path / "none").saturates


@pytest.mark.parametrize(("largest", "expected"), [(64, False), (-64, False), (65, True), (-65, True), (-128, True)])
def test_pairs_of_products_that_leave_16_bits(largest: int, expected: bool) -> None:
    assert may_saturate([np.zeros(3, np.int8), np.array([0, largest], np.int8)]) is expected
    assert (2 * 255 * abs(largest) > 2**15 - 1) is expected
    assert not may_saturate([np.array([1000], np.int16)]), "wider integers are multiplied by no int8 kernel"


def test_halved_weights_fit() -> None:
    integers = np.arange(-128, 128).astype(np.int8)
    assert not may_saturate([halved(integers)])
    np.testing.assert_array_equal(halved(integers), np.trunc(np.arange(-128, 128) / 2))
