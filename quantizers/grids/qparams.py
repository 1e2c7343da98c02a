"""The integer grid of a tensor, ``real = (q - zero_point) * scale``, in the sense of ONNX and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import ConfigError, NonFiniteError, ShapeError
from quantizers.statistics.arrays import FloatArray, as_float_array

__all__ = ["IntArray", "QParams", "QuantSpec", "asymmetric_grid", "check_num_bits", "symmetric_scale"]

IntArray = npt.NDArray[np.int32]

_MIN_BITS = 2
_MAX_BITS = 16
_TINY = float(np.finfo(np.float32).tiny)
_HUGE = float(np.finfo(np.float32).max)


def check_num_bits(num_bits: object) -> int:
    """Return ``num_bits`` when it is an int in 2..16 (``bool`` is not one), else raise ``ConfigError``."""
    if isinstance(num_bits, (bool, np.bool_)) or not isinstance(num_bits, (int, np.integer)):
        raise ConfigError(f"quant_bits must be an int in {_MIN_BITS}..{_MAX_BITS}, got {num_bits!r}")
    if not _MIN_BITS <= num_bits <= _MAX_BITS:
        raise ConfigError(f"quant_bits must be in {_MIN_BITS}..{_MAX_BITS}, got {num_bits}")
    return int(num_bits)


@dataclass(frozen=True)
class QuantSpec:
    """What kind of grid is wanted, before any data is seen.

    ``num_bits`` 2..16; ``signed`` integers or not; ``symmetric`` (zero point 0) or not; ``quant_axis`` None for one scale per
    tensor, else the channel axis; ``narrow_range`` drops the most negative integer (signed grids only), which keeps products of
    weights symmetric.  Raises ``ConfigError`` for a setting out of range.
    """

    num_bits: int = 8
    signed: bool = True
    symmetric: bool = True
    quant_axis: int | None = None
    narrow_range: bool = False

    def __post_init__(self) -> None:
        check_num_bits(self.num_bits)
        if self.narrow_range and not self.signed:
            raise ConfigError("narrow_range belongs to signed grids; set signed=True or narrow_range=False")
        axis = self.quant_axis
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, (int, np.integer))):
            raise ConfigError(f"quant_axis must be an int or None, got {axis!r}")

    @property
    def quant_min(self) -> int:
        """Smallest integer of the grid."""
        if not self.signed:
            return 0
        return -(1 << (self.num_bits - 1)) + int(self.narrow_range)

    @property
    def quant_max(self) -> int:
        """Largest integer of the grid."""
        return (1 << (self.num_bits - int(self.signed))) - 1


def symmetric_scale(threshold: npt.ArrayLike, quant_max: int) -> FloatArray:
    """Scale of a grid with zero point 0 that ends at ``threshold``: ``threshold / quant_max``, computed in float64.

    A threshold of 0 gets scale 1.0 (an all-zero tensor stays exactly zero).  A scale below the smallest normal float32 is raised
    to it, so that a division by the scale is never a division by zero.
    """
    wide = np.asarray(threshold, dtype=np.float64)
    return _to_scale(wide / quant_max, wide)


def asymmetric_grid(low: npt.ArrayLike, high: npt.ArrayLike, quant_max: int) -> tuple[FloatArray, IntArray]:
    """Scale and zero point of the unsigned grid ``0..quant_max`` over ``[min(low, 0), max(high, 0)]``, elementwise.

    ``zero_point = rint(-low / scale)``, so that zero is exactly representable.  The special cases are those of `symmetric_scale`.
    """
    low64 = np.minimum(np.asarray(low, dtype=np.float64), 0.0)
    high64 = np.maximum(np.asarray(high, dtype=np.float64), 0.0)
    scale = _to_scale((high64 - low64) / quant_max, high64 - low64)
    zero_point = np.clip(np.rint(-low64 / scale.astype(np.float64)), 0, quant_max)
    return scale, zero_point.astype(np.int32)


def _to_scale(scale: npt.NDArray[np.float64], width: npt.NDArray[np.float64]) -> FloatArray:
    clamped = np.clip(scale, _TINY, _HUGE)
    return np.asarray(np.where(width == 0, 1.0, clamped), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class QParams:
    """One integer grid.

    ``scale`` float32 and ``zero_point`` int32, both of shape ``[]`` (one per tensor) or ``[C]`` (one per index of ``quant_axis``).
    Raises ``ConfigError`` when the parts do not fit together and ``NonFiniteError`` for a NaN or infinite scale.
    """

    scale: FloatArray
    zero_point: IntArray
    quant_min: int
    quant_max: int
    num_bits: int
    quant_axis: int | None = None

    def __post_init__(self) -> None:
        check_num_bits(self.num_bits)
        scale = np.array(self.scale, dtype=np.float32)
        zero_point = np.array(self.zero_point, dtype=np.int32)
        if not np.isfinite(scale).all():
            raise NonFiniteError("the scale of a grid is NaN or Inf; check the thresholds that it came from")
        if (scale <= 0).any():
            raise ConfigError("the scale of a grid must be positive")
        if scale.shape != zero_point.shape or scale.ndim != (self.quant_axis is not None):
            raise ConfigError(
                f"scale {scale.shape} and zero_point {zero_point.shape} must both be 0-d (quant_axis None) or [C], "
                f"got quant_axis {self.quant_axis}"
            )
        if not 0 < self.quant_max - self.quant_min < 2**self.num_bits:
            raise ConfigError(f"[{self.quant_min}, {self.quant_max}] is no grid of {self.num_bits} bits")
        if ((zero_point < self.quant_min) | (zero_point > self.quant_max)).any():
            raise ConfigError(f"zero_point must lie in [{self.quant_min}, {self.quant_max}]")
        scale.setflags(write=False)
        zero_point.setflags(write=False)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", zero_point)

    @classmethod
    def symmetric(
        cls,
        threshold: npt.ArrayLike,
        *,
        num_bits: int = 8,
        signed: bool = True,
        quant_axis: int | None = None,
        narrow_range: bool = False,
    ) -> QParams:
        """Grid with zero point 0 whose largest integer stands for ``threshold``: a float, or ``[C]`` floats with ``quant_axis``.

        8 bits: signed ``[-128, 127]`` (``[-127, 127]`` with ``narrow_range``), scale threshold / 127; unsigned ``[0, 255]``,
        scale threshold / 255.  A threshold of 0 gets scale 1.0.  Raises ``NonFiniteError`` for NaN or Inf and ``ConfigError`` for a
        negative threshold.
        """
        spec = QuantSpec(num_bits, signed=signed, quant_axis=quant_axis, narrow_range=narrow_range)
        values = _finite(threshold, "threshold")
        if (values < 0).any():
            raise ConfigError(f"a threshold must not be negative, got {values.min()}")
        scale = symmetric_scale(values, spec.quant_max)
        zeros = np.zeros(scale.shape, dtype=np.int32)
        return cls(scale, zeros, spec.quant_min, spec.quant_max, spec.num_bits, quant_axis)

    @classmethod
    def asymmetric(cls, low: float, high: float, *, num_bits: int = 8) -> QParams:
        """Unsigned grid (8 bits: ``[0, 255]``) over ``[min(low, 0), max(high, 0)]`` with a zero point, so that zero is exact.

        An empty range gets scale 1.0.  Raises ``NonFiniteError`` for NaN or Inf and ``ConfigError`` when ``low > high``.
        """
        spec = QuantSpec(num_bits, signed=False, symmetric=False)
        low64, high64 = _finite(low, "low"), _finite(high, "high")
        if low64.ndim or high64.ndim:
            raise ConfigError("low and high of an asymmetric grid are single numbers")
        if low64 > high64:
            raise ConfigError(f"low {low64} is above high {high64}")
        scale, zero_point = asymmetric_grid(low64, high64, spec.quant_max)
        return cls(scale, zero_point, spec.quant_min, spec.quant_max, spec.num_bits, None)

    @property
    def signed(self) -> bool:
        """Whether the grid holds negative integers."""
        return self.quant_min < 0

    @property
    def is_symmetric(self) -> bool:
        """Whether every zero point is 0 (true of the unsigned grid of a non-negative tensor too)."""
        return not self.zero_point.any()

    @property
    def low(self) -> float | list[float]:
        """Smallest real number of the grid: a float, or one per channel."""
        return self._real(self.quant_min)

    @property
    def high(self) -> float | list[float]:
        """Largest real number of the grid: a float, or one per channel."""
        return self._real(self.quant_max)

    @property
    def threshold(self) -> float | list[float]:
        """The larger ``|bound|``: a float, or one per channel.  For a symmetric grid that is ``quant_max * scale``."""
        high = np.asarray(self.high)
        if self.is_symmetric:
            return _plain(high)
        return _plain(np.maximum(np.abs(np.asarray(self.low)), np.abs(high)))

    @property
    def storage_dtype(self) -> np.dtype[Any]:
        """The smallest NumPy integer dtype that holds the grid: int8 or uint8 up to 8 bits, int16 or uint16 above."""
        bits = 8 if self.num_bits <= 8 else 16
        return np.dtype(f"{'int' if self.signed else 'uint'}{bits}")

    def quantize(self, x: Any) -> npt.NDArray[Any]:
        """Integers of ``x`` (floats, any shape; ``[..., C, ...]`` for a grid per channel) in `storage_dtype`.

        ``q = clip(rint(x / scale) + zero_point, quant_min, quant_max)`` in float32; halves round to even, as ``paddle.round`` does.
        Raises ``NonFiniteError`` for NaN (Inf is clipped), ``ShapeError`` when the channel axis does not fit.
        """
        levels = self._levels(as_float_array(x, where="quantize"))
        if np.isnan(levels).any():
            raise NonFiniteError("NaN cannot be quantized")
        return levels.astype(self.storage_dtype)

    def dequantize(self, q: npt.ArrayLike) -> FloatArray:
        """Real numbers (float32) of the integers ``q``: ``(q - zero_point) * scale``.  Raises ``ShapeError`` as `quantize` does."""
        return self._reals(np.asarray(q).astype(np.float32))

    def fake_quantize(self, x: Any) -> FloatArray:
        """``dequantize(quantize(x))`` without leaving float32 (shape of ``x``); NaN stays NaN."""
        return self._reals(self._levels(as_float_array(x, where="fake_quantize")))

    def to_dict(self) -> dict[str, Any]:
        """All of the grid as JSON-able values; `from_dict` returns an equal object (a float32 is exact as a JSON number)."""
        return {
            "scale": self.scale.astype(np.float64).tolist(),
            "zero_point": self.zero_point.tolist(),
            "quant_min": self.quant_min,
            "quant_max": self.quant_max,
            "num_bits": self.num_bits,
            "quant_axis": self.quant_axis,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> QParams:
        """The grid that `to_dict` described.  Raises ``ConfigError`` when keys are missing or unknown."""
        keys = {"scale", "zero_point", "quant_min", "quant_max", "num_bits", "quant_axis"}
        if set(data) != keys:
            raise ConfigError(f"a grid is described by {sorted(keys)}, got {sorted(data)}")
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QParams):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.scale.tobytes(), self.zero_point.tobytes(), self.quant_min, self.quant_max, self.num_bits, self.quant_axis))

    def _levels(self, x: FloatArray) -> FloatArray:
        scale, zero_point = self._aligned(x.shape)
        with np.errstate(over="ignore"):
            levels = np.rint(x / scale) + zero_point
        return np.asarray(np.clip(levels, np.float32(self.quant_min), np.float32(self.quant_max)), dtype=np.float32)

    def _reals(self, levels: FloatArray) -> FloatArray:
        scale, zero_point = self._aligned(levels.shape)
        # The outermost level of a range within 1 % of float32's own may be Inf, as it is in a float32 runtime.
        with np.errstate(over="ignore"):
            return np.asarray((levels - zero_point) * scale, dtype=np.float32)

    def _aligned(self, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """Scale and zero point (float32) shaped so that they broadcast over a tensor of ``shape``."""
        zero_point = self.zero_point.astype(np.float32)
        if self.quant_axis is None:
            return self.scale, zero_point
        ndim = len(shape)
        if not -ndim <= self.quant_axis < ndim or shape[self.quant_axis] != self.scale.size:
            raise ShapeError(f"a grid of {self.scale.size} channels on axis {self.quant_axis} does not fit a tensor of shape {list(shape)}")
        view = [1] * ndim
        view[self.quant_axis] = -1
        return self.scale.reshape(view), zero_point.reshape(view)

    def _real(self, level: int) -> float | list[float]:
        wide = (level - self.zero_point.astype(np.float64)) * self.scale.astype(np.float64)
        return _plain(wide)


def _plain(values: npt.NDArray[Any]) -> float | list[float]:
    result: float | list[float] = values.tolist()
    return result


def _finite(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float64]:
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise NonFiniteError(f"{what} is NaN or Inf; check the data that it came from")
    return wide
