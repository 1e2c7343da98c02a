"""What a state becomes: which tensors are quantized and how they are laid out in the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from quantizers.errors import ConfigError

from ...layers.block_weight import BlockLayout
from ..settings import WITH_DATA, WeightSettings
from .entry import Entry
from .tensors import FORMAT, header_of

__all__ = ["ROWS", "VERSION", "StatePlan", "plan_state"]

VERSION = 1
# Embeddings and recurrent layers have their channels in the first axis, like convolutions; Linear layers in the second.
ROWS = ("*embed*", "*tok*.weight", "*wte*", "*wpe*", "*lookup*", "*weight_ih*", "*weight_hh*")


@dataclass(frozen=True)
class StatePlan:
    """The tensors of the source, the layout of those that are quantized by name, and the beginning of the file with the places in it."""

    entries: tuple[Entry, ...]
    settings: WeightSettings
    layouts: dict[str, BlockLayout]
    header: bytes
    starts: dict[str, int]
    size: int

    @property
    def digest(self) -> str:
        """What a file that was begun must have in common with this plan to be gone on with."""
        source = [(entry.name, entry.dtype, entry.shape, entry.file.name, entry.offset, entry.length) for entry in self.entries]
        stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted({entry.file for entry in self.entries})]
        return hashlib.sha256(self.header + json.dumps([source, stamps]).encode()).hexdigest()


def plan_state(entries: Sequence[Entry], settings: WeightSettings, rows: Sequence[str] = ROWS, skip: Sequence[str] = ()) -> StatePlan:
    """The plan for a state.

    Args:
        entries: its tensors.
        settings: for all that is quantized: tensors of real numbers with two axes or more.
        rows: patterns of names whose channels are the first axis, though they have two.
        skip: patterns of names that stay as they are.

    Raises:
        ConfigError: the settings need data or a whole model, or nothing is left to quantize.
    """
    if settings.algorithm in (*WITH_DATA, "log", "hqq") or not settings.per_channel:
        raise ConfigError(f"a state is quantized by absmax or mse, per channel or in blocks, not with {settings.describe()}")
    layouts = {
        entry.name: BlockLayout(entry.shape, _axis(entry, rows), settings.bits, settings.group_size, settings.is_symmetric)
        for entry in entries
        if entry.is_float and len(entry.shape) > 1 and min(entry.shape) > 0 and not any(fnmatchcase(entry.name, key) for key in skip)
    }
    if not layouts:
        raise ConfigError("nothing in this state can be quantized: no tensor of real numbers with two axes is left")
    tensors = [tensor for entry in entries for tensor in _tensors(entry, layouts.get(entry.name))]
    names = {name for name, _, _ in tensors}
    if len(names) < len(tensors):
        raise ConfigError("what stands for a weight, NAME_quantized or NAME_scale, is the name of another tensor: rename it, or skip one")
    described = {
        name: {"shape": list(layout.shape), "axis": layout.axis, "dtype": next(e.dtype for e in entries if e.name == name)}
        for name, layout in layouts.items()
    }
    facts: dict[str, Any] = {"version": VERSION, "settings": settings.to_dict(), "weights": described}
    header, starts = header_of(tensors, {"format": FORMAT, "ptq": json.dumps(facts)})
    size = len(header) + sum(_length(shape, dtype) for _, dtype, shape in tensors)
    return StatePlan(tuple(entries), settings, layouts, header, starts, size)


def _axis(entry: Entry, rows: Sequence[str]) -> int:
    return 0 if len(entry.shape) > 2 or any(fnmatchcase(entry.name, key) for key in rows) else 1


def _tensors(entry: Entry, layout: BlockLayout | None) -> list[tuple[str, str, tuple[int, ...]]]:
    """Names, data types and shapes of what stands for a tensor in the file."""
    if layout is None:
        return [(entry.name, entry.dtype, entry.shape)]
    count, is_wide = layout.shape[layout.axis], layout.num_bits > 8
    stored = layout.blocks * layout.stored_block // layout.per_byte
    found: list[tuple[str, str, tuple[int, ...]]] = [
        (f"{entry.name}_quantized", "I16" if is_wide else "I8", (count, stored)),
        (f"{entry.name}_scale", "F32", (count, layout.blocks)),
    ]
    if not layout.is_symmetric:
        found.append((f"{entry.name}_zero_point", "I32" if is_wide else "I8", (count, layout.blocks)))
    return found


def _length(shape: tuple[int, ...], dtype: str) -> int:
    length = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}.get(dtype, 1)
    for size in shape:
        length *= size
    return length
