"""The processor, and whether its int8 kernels sum exactly."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cpu", "this_cpu"]

# Any of these multiplies and sums bytes into 32 bits at once.
DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})


@dataclass(frozen=True)
class Cpu:
    """A processor.

    ``name``: as the system calls it; ``has_vnni``: whether it has int8 dot products, ``None`` where the system does not tell (not Linux,
    or no x86).  Without them kernels add pairs of products of uint8 and int8 in 16 bits, which saturate: 255 * 127 * 2 does not fit.
    """

    name: str
    has_vnni: bool | None

    @property
    def saturates(self) -> bool:
        """Whether int8 kernels are known to saturate here with weights of 8 bits; those of 7 bits always fit."""
        return self.has_vnni is False

    def __str__(self) -> str:
        return f"this CPU ({self.name or 'of unknown name'})"


def this_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """The processor of this machine, from what Linux tells of the first one."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Cpu(platform.processor() or platform.machine(), None)
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    flags = facts.get("flags")
    name = facts.get("model name") or platform.machine()
    return Cpu(name, None if flags is None else bool(DOT_PRODUCTS.intersection(flags.split())))
