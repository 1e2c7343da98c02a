"""What oneDNN prints with ``ONEDNN_VERBOSE=1``: which primitives it executed, of either of its versions that Paddle carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["COMPUTES", "VERBOSE", "Primitive", "primitives"]

VERBOSE = "ONEDNN_VERBOSE"
COMPUTES = ("convolution", "deconvolution", "inner_product", "matmul")
INTEGERS = ("u8", "s8")


@dataclass(frozen=True)
class Primitive:
    """One execution: kind, implementation, the dtypes of what it reads (``source`` and ``weight``), its shape as printed, and seconds."""

    kind: str
    kernel: str
    source: str
    weight: str
    shape: str
    seconds: float = 0.0

    @property
    def computes(self) -> bool:
        """Whether it is a convolution or a product."""
        return self.kind in COMPUTES

    @property
    def is_int8(self) -> bool:
        """Whether both operands are 8-bit integers."""
        return self.source in INTEGERS and self.weight in INTEGERS

    def sizes(self) -> tuple[int, ...]:
        """What identifies a layer: groups, channels in and out, and window of a convolution; inner and outer size of a product."""
        if ":" in self.shape:  # a product: 2x8:8x10
            inner, outer = self.shape.split(":")[1].split("x")[-2:]
            return int(inner), int(outer)
        found = {name: int(number) for name, number in re.findall(r"([a-z]+)(\d+)", self.shape)}
        if self.kind == "inner_product":
            return found["ic"], found["oc"]
        return found.get("g", 1), found["ic"], found["oc"], *(found[name] for name in ("kd", "kh", "kw") if name in found)


def primitives(lines: Iterable[str]) -> Iterator[Primitive]:
    """The primitives among the lines, in order; other lines are passed over.

    Memory is ``src_u8::blocked… wei_s8…``, with a colon for the underscore in newer versions.
    """
    for line in lines:
        head, _, rest = line.partition(",exec,")
        fields = rest.split(",")
        if not head.startswith("onednn_verbose") or len(fields) < 6:
            continue
        _, kind, kernel, _, memory, *_, shape, milliseconds = fields
        dtypes = dict(re.findall(r"(?:^| )(src|wei)[_:](\w+?):", memory))
        yield Primitive(kind, kernel, dtypes.get("src", ""), dtypes.get("wei", ""), shape, float(milliseconds) / 1e3)
