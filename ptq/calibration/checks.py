"""Reads the parts of a calibration file without trusting them: every number is checked against what it claims to describe.

All functions raise ``ValueError`` for what no calibration could have written; `ptq.calibration.file` adds the file's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers import ChannelRanges, TensorStatistics

__all__ = ["parse_array", "parse_channels", "parse_statistics", "require"]

DTYPES = ("|u1", "<u2", "<u4", "<i8")
_NUMBERS = ("low", "high", "abs_max")
_COUNTS = ("elements", "items", "zeros")
_SUMS = ("sum_abs_max", "sum_low", "sum_high")
_KEYS = {"version", "bins", "max_samples_per_item", "exponent", "moving", *_NUMBERS, *_COUNTS, *_SUMS}
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_COUNT = 1 << 63
# The header of a .npy file as `ptq.calibration.file` writes it; NumPy's own reader accepts far more than that.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '(\|u1|<u2|<u4|<i8)', 'fortran_order': False, 'shape': \(2, (\d{1,12})\), \} *\n", re.DOTALL
)
# The sum of 2**63 float32 values in units of 2**-149 has at most 341 bits.
_HEX = re.compile(r"-?0x[0-9a-f]{1,96}")


def require(condition: bool, what: str) -> None:
    """Raises ``ValueError`` with ``what`` unless the condition holds."""
    if not condition:
        raise ValueError(what)


def parse_array(data: bytes) -> npt.NDArray[np.int64]:
    """The counts in a ``.npy`` member: int64 ``[2, N]``.  Nothing is allocated before its size is known to be that of ``data``."""
    found = _NPY.match(data)
    if found is None:
        raise ValueError("an array is not one of counts")
    length, dtype, size = int.from_bytes(found[1], "little"), np.dtype(found[2].decode()), int(found[3])
    start = found.end()
    require(start == 10 + length and size >= 2 and size % 2 == 0, "an array's header is malformed")
    require(len(data) - start == 2 * size * dtype.itemsize, "an array is not as long as its shape says")
    counts = np.frombuffer(data, dtype, offset=start).reshape(2, size)
    require(bool((counts >= 0).all()), "a count is negative")
    return counts.astype(np.int64)


def parse_channels(value: Any) -> ChannelRanges | None:
    """The ranges of channels that a layer's entry holds, ``None`` for none."""
    if value is None:
        return None
    require(isinstance(value, dict) and value.keys() == {"low", "high"}, "the ranges of channels have other fields")
    low, high = value["low"], value["high"]
    require(isinstance(low, list) and isinstance(high, list) and 0 < len(low) == len(high), "the ranges of channels are malformed")
    require(all(map(_is_float, low)) and all(map(_is_float, high)), "a channel's range is no number")
    require(all(a <= b for a, b in zip(low, high, strict=True)), "a channel's range is no range")
    return ChannelRanges(low, high)


def parse_statistics(meta: Any, counts: npt.NDArray[np.int64], unfinished: bool) -> TensorStatistics:
    """The statistics that ``meta`` (from JSON) and ``counts`` ``[2, N]`` describe; ``unfinished`` ones count their batches too."""
    require(isinstance(meta, dict) and meta.keys() == (_KEYS | {"batches"} if unfinished else _KEYS), "a tensor's entry has other fields")
    for name in (*_COUNTS, "version", *(("batches",) if unfinished else ())):
        require(_is_int(meta[name], 0, _MAX_COUNT), f"{name} is {meta[name]!r}")
    for name in _NUMBERS:
        require(_is_float(meta[name]), f"{name} is {meta[name]!r}")
    for name in _SUMS:
        require(isinstance(meta[name], str) and _HEX.fullmatch(meta[name]) is not None, f"{name} is no hexadecimal number")
    limit = meta["max_samples_per_item"]
    require(limit is None or _is_int(limit, 1, _MAX_COUNT), f"max_samples_per_item is {limit!r}")
    require(
        _is_int(meta["bins"], 1, _MAX_COUNT) and counts.shape == (2, 2 * meta["bins"]), "the histogram does not have the bins it claims"
    )
    require(_is_int(meta["exponent"], -149, 129), f"exponent is {meta['exponent']!r}")
    _check_moving(meta["moving"])
    _check_extremes(meta)
    _check_histogram(meta, counts)
    state = {"batches": 0, "poisoned": "", **meta}
    return TensorStatistics.from_state({"meta": state, "arrays": {"counts": counts}})


def _check_extremes(meta: Mapping[str, Any]) -> None:
    low, high, abs_max, items = meta["low"], meta["high"], meta["abs_max"], meta["items"]
    require(low <= high and abs_max == max(high, -low), "the extremes contradict each other")
    require(1 <= items <= meta["elements"], "the numbers of samples and elements contradict each other")
    bounds = {"sum_abs_max": (0.0, abs_max), "sum_low": (low, high), "sum_high": (low, high)}
    for name, (least, most) in bounds.items():
        require(_units(least) * items <= int(meta[name], 16) <= _units(most) * items, f"{name} contradicts the extremes")


def _check_histogram(meta: Mapping[str, Any], counts: npt.NDArray[np.int64]) -> None:
    total = meta["zeros"] + (int((counts >> 32).sum()) << 32) + int((counts & 0xFFFFFFFF).sum())
    whole = meta["max_samples_per_item"] is None
    require(1 <= total <= meta["elements"] and (total == meta["elements"] or not whole), "the histogram's total contradicts the elements")
    exponent, size = meta["exponent"], counts.shape[1]
    fits = meta["abs_max"] < math.ldexp(size, exponent)
    is_finest = exponent == -149 or meta["abs_max"] >= math.ldexp(size, exponent - 1)
    require(fits and is_finest, "the histogram's range contradicts the extremes")
    for row, largest in zip(counts, (meta["high"], -meta["low"]), strict=True):
        used = np.flatnonzero(row)
        last = int(used[-1]) if used.size else -1
        require(last < 0 or (largest > 0 and last <= math.floor(math.ldexp(largest, -exponent))), "the histogram goes beyond the extremes")


def _check_moving(moving: Any) -> None:
    if moving is None:
        return
    require(isinstance(moving, dict) and moving.keys() == {"rate", "accumulator", "weight"}, "the moving average has other fields")
    finite = all(type(value) in (int, float) and math.isfinite(value) for value in moving.values())
    require(finite and 0 < moving["rate"] < 1 and moving["accumulator"] >= 0 and moving["weight"] >= 1, "the moving average is impossible")


def _is_int(value: Any, least: int, end: int) -> bool:
    return type(value) is int and least <= value < end


def _is_float(value: Any) -> bool:
    return type(value) is float and math.isfinite(value) and abs(value) <= _LARGEST_FLOAT32 and float(np.float32(value)) == value


def _units(value: float) -> int:
    """A float32 value in units of 2**-149."""
    return int(math.ldexp(value, 149))
