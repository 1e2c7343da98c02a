"""Feeds damaged files to the loaders of calibrations and configs: ``python -m tests.fuzz_loaders --seconds 600``.

Every input follows from ``--seed`` and its number alone, so that a failure is repeated with ``--first NUMBER --seconds 0``.  An input fails
when an error outside `quantizers.errors` comes out, when more memory is asked for than the input's size explains, or when what is
accepted does not come out the same when it is written and read again.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import io
import json
import os
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ptq import PTQConfig, QuantOverride
from ptq.calibration.file import Contents, LayerStatistics, Progress, _digest, from_bytes, read_contents, to_bytes
from quantizers import AutoQuantizer, KLQuantizer, MovingAverageAbsmaxQuantizer
from quantizers.errors import QuantizationError

Random = np.random.Generator
LEAST_BYTES, TIMES = 20 << 20, 64
SOUND = 50  # files of each kind
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # files on a disk take most of the time
STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**70,
    1e308,
    -0.5,
    "",
    "x",
    "\0",
    "\ud800",
    "0x1p3",
    [],
    {},
    [[]],
    {"type": "KLQuantizer"},
]


def calibration(random: Random) -> bytes:
    """A sound calibration file."""
    layers = {}
    for name in ("", "conv1", "block.0.fc")[: random.integers(1, 4)]:
        bins = int(random.integers(1, 20))
        quantizer = KLQuantizer(bins=bins) if random.random() < 0.5 else MovingAverageAbsmaxQuantizer(bins=bins)
        for _ in range(random.integers(1, 3)):
            quantizer.sample_data(None, (random.standard_normal((3, 5)).astype("float32"),))
        layers[name] = LayerStatistics("Linear", input=quantizer.statistics)
    tensor = {"tensor": {"shape": [None, 5], "dtype": "float32"}}
    spec = {"tuple": [{"tuple": [tensor]}, {"dict": [["mask", {"value": None}]]}]}
    progress = Progress("0" * 16, ("1" * 16,)) if random.random() < 0.3 else None
    return to_bytes(Contents(layers, spec, progress))


def config(random: Random) -> bytes:
    """A sound config."""
    overrides = {"head.*": None, "re:conv[12]$": QuantOverride(weight_bits=4, activation_quantizer=KLQuantizer(), per_channel=False)}
    rule = AutoQuantizer() if random.random() < 0.5 else MovingAverageAbsmaxQuantizer()
    return json.dumps(PTQConfig(rule, overrides=overrides).to_dict(), indent=1).encode()


def load_calibration(data: bytes, folder: Path) -> None:
    """Reads one, writes it and reads it again."""
    path = folder / "fuzzed.ptqc"
    path.write_bytes(data)
    again = to_bytes(read_contents(path))
    assert to_bytes(from_bytes(again, "again")) == again


def load_config(data: bytes, folder: Path) -> None:
    """Reads one, writes it and reads it again."""
    path = folder / "fuzzed.json"
    path.write_bytes(data)
    found = PTQConfig.from_json(path)
    assert PTQConfig.from_dict(found.to_dict()) == found


def spoil_bytes(data: bytes, random: Random) -> bytes:
    """Bits flipped, spans deleted, doubled, moved, overwritten, or the end cut off."""
    for _ in range(random.integers(1, 4)):
        size = len(data)
        start, stop = sorted(int(n) for n in random.integers(0, size + 1, 2))
        stop = min(stop, start + int(2 ** random.uniform(0, 12)))
        noise = random.bytes(stop - start)
        kinds = (
            lambda d=data, a=start, z=stop: d[:a] + d[z:],
            lambda d=data, a=start, z=stop: d[:z] + d[a:],
            lambda d=data, a=start, z=stop, n=noise: d[:a] + n + d[z:],
            lambda d=data, a=start, z=stop: d[:a] + bytes(z - a) + d[z:],
            lambda d=data, a=start: d[:a],
            lambda d=data, a=start: d[:a] + bytes([d[a] ^ (1 << int(random.integers(8)))]) + d[a + 1 :] if a < len(d) else d,
        )
        data = kinds[int(random.integers(len(kinds)))]()
    return data


def spoil_json(data: bytes, random: Random) -> bytes:
    """One node of the text replaced, removed, or put in another's place."""
    values = json.loads(data)
    nodes = list(_nodes(values))
    for _ in range(random.integers(1, 3)):
        holder, key = nodes[int(random.integers(len(nodes)))]
        other, name = nodes[int(random.integers(len(nodes)))]
        strange = STRANGE[int(random.integers(len(STRANGE)))]
        with contextlib.suppress(LookupError):  # an earlier change took the place away
            kind = int(random.integers(4))
            if kind == 0:
                del holder[key]
            elif kind == 1 and isinstance(holder, dict):
                holder[str(strange)] = holder[key]
            else:
                holder[key] = strange if kind < 3 else json.loads(json.dumps(other[name]))
    return json.dumps(values).encode()


def spoil_members(data: bytes, random: Random) -> bytes:
    """A calibration whose parts are changed and whose checksum fits all the same: what somebody who knows the format can forge."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "checksum"}
    name = str(random.choice(sorted(members))) if random.random() < 0.4 else "header.json"
    members[name] = (spoil_json if name.endswith(".json") and random.random() < 0.9 else spoil_bytes)(members[name], random)
    members["checksum"] = _digest(members).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def noise(_: bytes, random: Random) -> bytes:
    """Random bytes, after the first bytes of a zip file or a JSON text."""
    return (b"", b"PK\x03\x04", b"{", b"[[")[int(random.integers(4))] + random.bytes(int(random.integers(300)))


Spoil = Callable[[bytes, Random], bytes]
TARGETS: dict[str, tuple[Callable[[Random], bytes], Callable[[bytes, Path], None], tuple[Spoil, ...]]] = {
    "calibration": (calibration, load_calibration, (spoil_bytes, spoil_members, spoil_members, noise)),
    "config": (config, load_config, (spoil_bytes, spoil_json, spoil_json, noise)),
}


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in nested lists and dicts, as a container and a key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _nodes(value[key])


@functools.cache
def sound(target: str, number: int) -> bytes:
    """One of the files that are spoilt."""
    return TARGETS[target][0](np.random.default_rng(number))


def one(seed: int, number: int, folder: Path) -> tuple[str, str]:
    """One input: what was spoilt how, and what came of it; raises what must not come of it."""
    random = np.random.default_rng([seed, number])
    target = sorted(TARGETS)[number % len(TARGETS)]
    _, load, spoils = TARGETS[target]
    spoil = spoils[int(random.integers(len(spoils)))]
    data = spoil(sound(target, int(random.integers(SOUND))), random)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        load(data, folder)
        outcome = "accepted"
    except QuantizationError as error:
        outcome = type(error).__name__
    used = tracemalloc.get_traced_memory()[1] - before
    if used > LEAST_BYTES + TIMES * len(data):
        raise MemoryError(f"{used} bytes for a file of {len(data)}")
    return f"{target}, {spoil.__name__}", outcome


def fuzz(
    seconds: float, seed: int = 0, first: int = 0, report: Callable[[str], object] = lambda _: None, least: int = 1
) -> Counter[tuple[str, str]]:
    """Counts of what came of inputs, from number ``first`` on until the time is over, at least ``least``.

    Raises ``AssertionError`` that names the first input that fails.
    """
    counts: Counter[tuple[str, str]] = Counter()
    end, number = time.monotonic() + seconds, first
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            while number < first + least or time.monotonic() < end:
                if number % 10_000 == 0:
                    report(f"number {number}")
                try:
                    counts[one(seed, number, Path(folder))] += 1
                except Exception as error:
                    raise AssertionError(f"--seed {seed} --first {number}: {type(error).__name__}: {error}") from error
                number += 1
    finally:
        tracemalloc.stop()
    return counts


def main() -> None:
    """Fuzzes for a while and prints what came of it."""
    parser = argparse.ArgumentParser(description="Feeds damaged files to the loaders of calibrations and configs.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    options = parser.parse_args()
    faulthandler.enable()
    counts = fuzz(options.seconds, options.seed, options.first, lambda text: print(text, file=sys.stderr, flush=True))
    for (what, outcome), count in sorted(counts.items()):
        print(f"{what:32} {outcome:24} {count}")
    print(f"{sum(counts.values())} inputs in {options.seconds:.0f} s, none failed")


if __name__ == "__main__":
    main()
