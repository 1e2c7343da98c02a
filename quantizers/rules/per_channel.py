"""Quantizers of weights: one threshold per output channel, from the whole weight."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, NonFiniteError, ShapeError
from quantizers.grids.qparams import QParams
from quantizers.rules.base import BaseQuantizer, Threshold, as_tensors
from quantizers.statistics.arrays import FloatArray, as_float_array

__all__ = ["PerChannelQuantizer", "default_quant_axis"]


class PerChannelQuantizer(BaseQuantizer):
    """Base of the quantizers of weights.

    A subclass defines ``_channel_thresholds(rows, abs_max)``: float32 ``[C, n]`` and float64 ``[C]`` to float64 ``[C]``.
    ``quant_axis`` is the channel axis; None means `default_quant_axis` of the layer.  The grid is symmetric and leaves out the
    most negative integer (8 bits: ``[-127, 127]``).  Sampling a weight again replaces what was known of it, for a weight does not
    come in batches.  Raises ``ConfigError`` for settings out of range.
    """

    is_weight = True

    _setting_names: ClassVar[tuple[str, ...]] = ("quant_bits", "quant_axis")

    def __init__(self, quant_bits: int = 8, *, quant_axis: int | None = None) -> None:
        super().__init__(quant_bits)
        if quant_axis is not None and (isinstance(quant_axis, bool) or not isinstance(quant_axis, (int, np.integer))):
            raise ConfigError(f"quant_axis must be an int or None, got {quant_axis!r}")
        self.quant_axis = quant_axis
        self._sampled: list[tuple[int, list[float]]] = []

    def sample_data(self, layer: Any, tensors: Any) -> None:
        """Take ``tensors``, a tuple of weights of any shape with the channel axis, of the ``layer`` (or None).

        Raises ``UnsupportedDtypeError``, ``ShapeError`` (no such axis), ``NonFiniteError`` and ``CalibrationError`` (another number of
        weights than before), naming the layer.
        """
        where = self.where(layer)
        found = as_tensors(tensors)
        if self._sampled and len(found) != len(self._sampled):
            raise CalibrationError(f"{where}: {len(found)} weights now, but {len(self._sampled)} before; call reset() first")
        sampled, abs_max_vals = [], []
        for tensor in found:
            weight = as_float_array(tensor, where=where)
            axis = self._axis(layer, weight, where)
            rows = np.ascontiguousarray(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1)
            abs_max = np.maximum(rows.max(axis=1), -rows.min(axis=1)).astype(np.float64)
            if not np.isfinite(abs_max).all():
                raise NonFiniteError(f"{where}: the weight holds NaN or Inf; it cannot be quantized")
            sampled.append((axis, self._channel_thresholds(rows, abs_max).tolist()))
            abs_max_vals.append(abs_max.tolist())
        self._sampled, self.abs_max_vals = sampled, abs_max_vals

    def cal_thresholds(self) -> None:
        """Set ``thresholds``: a list of floats per weight.  Raises ``NoCalibrationDataError`` when no weight was sampled."""
        if not self._sampled:
            raise NoCalibrationDataError(f"{self.where()}: no weight was sampled; call sample_data(layer, (weight,)) first")
        self.thresholds = [list(values) for _, values in self._sampled]

    def reset(self) -> None:
        """Forget all weights and thresholds; settings stay."""
        super().reset()
        self._sampled = []

    def _channel_thresholds(self, rows: FloatArray, abs_max: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        raise NotImplementedError(f"{type(self).__name__} must define _channel_thresholds(rows, abs_max)")

    def _axis(self, layer: Any, weight: FloatArray, where: str) -> int:
        axis = default_quant_axis(layer, weight.ndim) if self.quant_axis is None else self.quant_axis
        if not -weight.ndim <= axis < weight.ndim:
            raise ShapeError(f"{where}: a weight of shape {list(weight.shape)} has no axis {axis}; set quant_axis")
        return int(axis % weight.ndim)

    def _grid(self, index: int, threshold: Threshold) -> QParams:
        axis = self._sampled[index][0] if index < len(self._sampled) else self.quant_axis or 0
        return QParams.symmetric(threshold, num_bits=self.quant_bits, quant_axis=axis, narrow_range=True)


def default_quant_axis(layer: Any, ndim: int) -> int:
    """The axis of output channels by the layer's kind, as in Paddle.

    1 for linear layers (weights ``[in, out]``) and transposed convolutions (``[in, out / groups, ...]``), 0 for all others, for an
    unknown layer and for weights of fewer than two axes.
    """
    names = [kind.__name__ for kind in type(layer).__mro__]
    second = any("Linear" in name or "Transpose" in name for name in names)
    return 1 if second and ndim > 1 else 0
