"""Quantizes a state tensor by tensor, so that memory is that of the largest one; what was interrupted is gone on with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from quantizers.errors import ArtifactError, NonFiniteError, QuantizationError
from quantizers.weights.block_rules import GridRule, absmax_grid, mse_grid

from ...layers.block_weight import BlockLayout, BlockWeight
from ...util.json_file import write_json
from ...util.progress import progress as progress_bar
from ..settings import WeightSettings
from .entry import Entry, as_float32
from .plan import ROWS, VERSION, StatePlan, plan_state
from .tensors import FORMAT, open_state

__all__ = ["MANIFEST_SUFFIX", "file_digest", "quantize_state"]

MANIFEST_SUFFIX = ".manifest.json"
RULES: dict[str, GridRule] = {"absmax": absmax_grid, "mse": mse_grid}
# Numbers that are quantized at a time: their copies in float64 are what is held beside the tensor.
SLAB = 1 << 20


def quantize_state(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    settings: WeightSettings,
    *,
    rows: Sequence[str] = ROWS,
    skip: Sequence[str] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Writes the state ``source`` with integer weights as the safetensors file ``target``, and its manifest beside it.

    One tensor is in memory at a time.  A file that was begun with the same source and settings is gone on with; the outcome is the same to
    the byte.  The file appears under its name when it is whole.

    Returns:
        The manifest: checksums of the file and of each tensor's data, and bytes before and after.

    Raises:
        ArtifactError: the source cannot be read, or the target cannot be written; ``CorruptArtifactError``: the source is damaged.
        ConfigError: the settings are not for states.
        NonFiniteError: a weight holds NaN or Inf.
    """
    entries = open_state(source)
    out = Path(target)
    if out.suffix != ".safetensors":
        out = out.with_name(f"{out.name}.safetensors")
    if any(entry.file.resolve() == out.resolve() for entry in entries):
        raise ArtifactError(f"{out} is the source itself; choose another name")
    plan = plan_state(entries, settings, rows, skip)
    partial, journal = out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.partial.jsonl")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        done = _begun(plan, partial, journal)
        with partial.open("r+b") as data, journal.open("a", encoding="utf-8") as notes:
            left = [entry for entry in plan.entries if entry.name not in done]
            for entry in progress_bar(left, description="weights", enabled=progress):
                done[entry.name] = _write(plan, entry, data)
                data.flush()
                os.fsync(data.fileno())
                notes.write(json.dumps({"name": entry.name, "sha256": done[entry.name]}) + "\n")
                notes.flush()
                os.fsync(notes.fileno())
        manifest = _manifest(plan, partial, done)
        write_json(f"{out}{MANIFEST_SUFFIX}", manifest)
        os.replace(partial, out)
        journal.unlink()
    except QuantizationError:  # it would come again: there is nothing to go on with
        for file in (partial, journal):
            file.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise ArtifactError(f"{out} cannot be written: {error.strerror or error}") from error
    return manifest


def _begun(plan: StatePlan, partial: Path, journal: Path) -> dict[str, str]:
    """Checksums of the tensors that a file begun earlier has; a file is begun anew where it is another's."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        first, *lines = journal.read_text(encoding="utf-8").splitlines()
        if json.loads(first)["plan"] == plan.digest and partial.stat().st_size == plan.size:
            return dict(_kept(plan, partial, lines))
    with partial.open("wb") as file:
        file.write(plan.header)
        file.truncate(plan.size)
    journal.write_text(json.dumps({"plan": plan.digest}) + "\n", encoding="utf-8")
    return {}


def _kept(plan: StatePlan, partial: Path, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Those whose data is what the journal says; a line that was being written when the process ended counts for nothing."""
    entries = {entry.name: entry for entry in plan.entries}
    with partial.open("rb") as file:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                note = json.loads(line)
                if _digest(file, *_span(plan, entries[note["name"]])) == note["sha256"]:
                    yield note["name"], note["sha256"]


def _span(plan: StatePlan, entry: Entry) -> tuple[int, int]:
    """Where the data of all that stands for a tensor starts and ends: it lies together."""
    first = f"{entry.name}_quantized" if entry.name in plan.layouts else entry.name
    start = plan.starts[first]
    position = next(place for place, other in enumerate(plan.entries) if other is entry)
    if position + 1 == len(plan.entries):
        return start, plan.size
    following = plan.entries[position + 1]
    return start, plan.starts[f"{following.name}_quantized" if following.name in plan.layouts else following.name]


def file_digest(path: Path) -> str:
    """The checksum of a whole file."""
    with path.open("rb") as file:
        return _digest(file, 0, path.stat().st_size)


def _digest(file: BinaryIO, start: int, stop: int) -> str:
    digest = hashlib.sha256()
    file.seek(start)
    while start < stop:
        piece = file.read(min(1 << 20, stop - start))
        if not piece:
            break
        digest.update(piece)
        start += len(piece)
    return digest.hexdigest()


def _write(plan: StatePlan, entry: Entry, file: BinaryIO) -> str:
    array = entry.read()
    layout = plan.layouts.get(entry.name)
    if layout is None:
        file.seek(plan.starts[entry.name])
        array.tofile(file)
    else:
        for first, buffers in _quantized(array, entry, layout, plan.settings):
            for ending, part in buffers.items():
                file.seek(plan.starts[f"{entry.name}_{ending}"] + first * part[0].nbytes)
                file.write(np.ascontiguousarray(part).tobytes())
    del array
    file.flush()
    return _digest(file, *_span(plan, entry))


def _quantized(
    array: npt.NDArray[Any], entry: Entry, layout: BlockLayout, settings: WeightSettings
) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
    """What is stored of some rows at a time, with the number of the first."""
    count, features = layout.shape[layout.axis], layout.features
    step = max(SLAB // features, 1)
    for first in range(0, count, step):
        part = array[first : first + step].reshape(-1, features) if layout.axis == 0 else array[:, first : first + step].T
        slab = np.ascontiguousarray(as_float32(part, entry.dtype))
        if not np.isfinite(slab).all():
            raise NonFiniteError(f"'{entry.name}' of {entry.file} holds NaN or Inf; repair it, or leave it as it is with --skip")
        grid = RULES[settings.algorithm](slab, settings.bits, settings.group_size, settings.is_symmetric)
        buffers = BlockWeight(grid.quantize(slab), grid, (len(slab), features), 0).buffers()
        if "zero_point" not in buffers and not layout.is_symmetric:  # these rows happen to have it in the middle
            dtype = np.int8 if layout.num_bits <= 8 else np.int32
            buffers["zero_point"] = (grid.zero_point - layout.offset).astype(dtype)
        yield first, buffers


def _manifest(plan: StatePlan, partial: Path, done: dict[str, str]) -> dict[str, Any]:
    whole = file_digest(partial)
    return {
        "format": FORMAT,
        "version": VERSION,
        "sha256": whole,
        "bytes": plan.size,
        "source_bytes": sum(entry.bytes for entry in plan.entries),
        "settings": plan.settings.to_dict(),
        "quantized": len(plan.layouts),
        "tensors": {entry.name: done[entry.name] for entry in plan.entries},
    }
