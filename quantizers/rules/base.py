"""What every quantizer shares: settings, thresholds, and the grids that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError
from quantizers.grids.qparams import QParams, check_num_bits

__all__ = ["BaseQuantizer", "Threshold", "as_tensors", "place_of"]

Threshold = float | list[float]


class BaseQuantizer:
    """Collects what it needs of tensors and turns it into thresholds.

    A subclass defines ``sample_data(layer, tensors)``, called with each batch, and ``cal_thresholds()``, which sets ``thresholds``:
    a list with one entry per sampled tensor, a float or a list of floats per channel.  The grids follow: ``qparams``.  Calling
    ``super().__init__`` is optional, as in code written for Paddle.

    Attributes that the engine may set: ``name`` (where the tensor is, for messages), ``quant_axis`` (channel axis),
    ``is_weight`` (a symmetric grid without its most negative integer), ``nonnegative`` (what the model's graph knows about the
    sign; None: look at the data), ``useful_range`` (what lies outside makes no difference to whoever reads the tensor, so that a
    grid with a zero point need not span it), ``sampled`` (calibration data was handed to ``sample_data``),
    ``refused`` (why a batch was not, in which case there must be no thresholds).
    """

    name: str = ""
    quant_axis: int | None = None
    is_weight: bool = False
    nonnegative: bool | None = None
    useful_range: tuple[float, float] | None = None
    sampled: bool = False
    refused: str = ""

    _quant_bits: int = 8
    _setting_names: ClassVar[tuple[str, ...]] = ("quant_bits",)

    def __init__(self, quant_bits: int = 8) -> None:
        self.quant_bits = quant_bits

    def sample_data(self, layer: Any, tensors: Any) -> None:
        """Look at one batch: ``tensors`` is a tuple of floating-point tensors, ``layer`` their layer or None."""
        raise NotImplementedError(f"{type(self).__name__} must define sample_data(layer, tensors)")

    def cal_thresholds(self) -> None:
        """Set ``thresholds`` from what was sampled.  Calling it again gives the same."""
        raise NotImplementedError(f"{type(self).__name__} must define cal_thresholds()")

    @property
    def quant_bits(self) -> int:
        """Bits of the grid, 2..16.  Setting anything else raises ``ConfigError``."""
        return self._quant_bits

    @quant_bits.setter
    def quant_bits(self, value: int) -> None:
        self._quant_bits = check_num_bits(value)

    # Lists are made when first asked for: a subclass need not call ``__init__``, and a list on the class would be shared.
    @property
    def thresholds(self) -> list[Any]:
        """One entry per sampled tensor: a float, or a list of floats per channel.  Empty before `cal_thresholds`."""
        found: list[Any] = self.__dict__.setdefault("_thresholds", [])
        return found

    @thresholds.setter
    def thresholds(self, values: Iterable[Any]) -> None:
        self.__dict__["_thresholds"] = values if isinstance(values, list) else list(values)

    @property
    def abs_max_vals(self) -> list[Any]:
        """The largest magnitude seen of each sampled tensor: a float, or a list of floats per channel."""
        found: list[Any] = self.__dict__.setdefault("_abs_max_vals", [])
        return found

    @abs_max_vals.setter
    def abs_max_vals(self, values: Iterable[Any]) -> None:
        self.__dict__["_abs_max_vals"] = values if isinstance(values, list) else list(values)

    @property
    def qparams(self) -> list[QParams]:
        """The grid of each sampled tensor: symmetric and signed, from ``thresholds``.

        Raises ``NoCalibrationDataError`` when there are none, ``NonFiniteError`` for thresholds that are not finite, ``ConfigError``
        for negative ones.
        """
        return [self._grid(index, threshold) for index, threshold in enumerate(self.checked_thresholds())]

    def checked_thresholds(self) -> list[Threshold]:
        """``thresholds`` as plain floats; a subclass may have set NumPy or Paddle scalars.  Raises as `qparams` does."""
        where = self.where()
        if len(self.thresholds) == 0:
            raise NoCalibrationDataError(f"{where}: no thresholds; run calibration batches, then call cal_thresholds()")
        return [_plain_threshold(value, where) for value in self.thresholds]

    def reset(self) -> None:
        """Forget all data and thresholds; settings stay."""
        self.thresholds = []
        self.abs_max_vals = []

    def settings(self) -> dict[str, Any]:
        """The type's name and the settings, JSON-able; `quantizers.quantizer_from_settings` makes an equal quantizer."""
        return {"type": type(self).__name__, **{name: getattr(self, name) for name in self._setting_names}}

    def where(self, layer: Any = None) -> str:
        """The place of the tensor for messages: ``name``, else the layer's full name, else the quantizer's own type."""
        return self.name or place_of(layer) or type(self).__name__

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.settings().items() if key != "type")
        return f"{type(self).__name__}({arguments})"

    def _grid(self, index: int, threshold: Threshold) -> QParams:
        del index  # the same rule for all tensors here; a quantizer with statistics looks at the tensor's range
        axis = None
        if isinstance(threshold, list):
            axis = 0 if self.quant_axis is None else self.quant_axis
        return QParams.symmetric(threshold, num_bits=self.quant_bits, quant_axis=axis, narrow_range=self.is_weight)


def place_of(layer: Any) -> str:
    """``layer.full_name()`` when there is such a thing, else an empty string."""
    full_name = getattr(layer, "full_name", None)
    return str(full_name()) if callable(full_name) else ""


def as_tensors(tensors: Any) -> tuple[Any, ...]:
    """``tensors`` as a tuple; a single tensor becomes a tuple of one.  Raises ``CalibrationError`` when it is empty."""
    result = tuple(tensors) if isinstance(tensors, (tuple, list)) else (tensors,)
    if not result:
        raise CalibrationError("sample_data needs at least one tensor, got none")
    return result


def _plain_threshold(value: Any, where: str) -> Threshold:
    if hasattr(value, "numpy"):
        value = value.numpy()
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: a threshold must be a float or a list of floats, got {value!r}") from error
    if array.ndim > 1 or array.size == 0:
        raise ConfigError(f"{where}: a threshold must be a float or a list of floats per channel, got shape {list(array.shape)}")
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{where}: a threshold is NaN or Inf; check the calibration data")
    if (array < 0).any():
        raise ConfigError(f"{where}: a threshold must not be negative, got {array.min()}")
    plain: Threshold = array.tolist()
    return plain if isinstance(plain, list) else math.fabs(plain)
