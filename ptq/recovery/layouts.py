"""A compute layer as a product of matrices: weights ``[groups, outputs, inputs]``, columns of inputs, and the results that they make.

A convolution's column is what one place of its result reads (im2col), zeros of the padding included; a transposed convolution is the
ordinary one over an input with zeros between its elements.  Places are sampled, since a few thousand tell as much as all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from paddle import nn

__all__ = ["ConvolutionLayout", "Layout", "LinearLayout", "layout_of"]

Array = npt.NDArray[Any]

CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Layout:
    """How one layer is a product of matrices."""

    def matrix(self, weight: Array) -> Array:
        """A weight in the layer's layout as ``[groups, outputs, inputs]``."""
        raise NotImplementedError

    def weight(self, matrix: Array) -> Array:
        """The weight that `matrix` was made of."""
        raise NotImplementedError

    def places(self, y: Array) -> int:
        """How many columns belong to one result of the layer."""
        raise NotImplementedError

    def results(self, y: Array, chosen: Array) -> Array:
        """What the layer computed at the chosen places, ``[len(chosen), outputs of all groups]``."""
        raise NotImplementedError

    def columns(self, x: Array, shape: Sequence[int], chosen: Array) -> Array:
        """What the layer reads for those places, ``[groups, len(chosen), inputs]``, float32; ``shape`` is that of its result."""
        raise NotImplementedError


@dataclass(frozen=True)
class LinearLayout(Layout):
    """`paddle.nn.Linear`: weight ``[in, out]``, one group, a place for each row."""

    def matrix(self, weight: Array) -> Array:
        """``[1, out, in]``."""
        return np.ascontiguousarray(weight.T)[None]

    def weight(self, matrix: Array) -> Array:
        """``[in, out]``."""
        return np.ascontiguousarray(matrix[0].T)

    def places(self, y: Array) -> int:
        """Rows of the result."""
        return math.prod(y.shape[:-1])

    def results(self, y: Array, chosen: Array) -> Array:
        """The chosen rows."""
        return y.reshape(-1, y.shape[-1])[chosen]

    def columns(self, x: Array, shape: Sequence[int], chosen: Array) -> Array:
        """The chosen rows of the input."""
        del shape
        return x.reshape(-1, x.shape[-1])[chosen][None]


@dataclass(frozen=True)
class ConvolutionLayout(Layout):
    """Convolutions of 1 to 3 dimensions, transposed ones too.

    Attributes:
        groups, kernel, stride, dilation: of the layer.
        padding: pairs of numbers for each dimension, or ``"same"``.
        mode: how `numpy.pad` fills it.
        transposed: weight ``[in, out / groups, *kernel]`` instead of ``[out, in / groups, *kernel]``.
        is_channels_last: whether the channels of inputs and results are on the last axis.
    """

    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] | str
    mode: str = "constant"
    transposed: bool = False
    is_channels_last: bool = False

    def matrix(self, weight: Array) -> Array:
        """``[groups, out / groups, in / groups * kernel]``."""
        if self.transposed:
            inputs, outputs = weight.shape[:2]
            grouped = weight.reshape(self.groups, inputs // self.groups, outputs, *self.kernel)
            grouped = np.flip(grouped, self._kernel_axes(3)).swapaxes(1, 2)
            return np.ascontiguousarray(grouped).reshape(self.groups, outputs, -1)
        return weight.reshape(self.groups, weight.shape[0] // self.groups, -1)

    def weight(self, matrix: Array) -> Array:
        """The weight that `matrix` was made of."""
        groups, outputs, size = matrix.shape
        inputs = size // math.prod(self.kernel)
        if not self.transposed:
            return np.ascontiguousarray(matrix).reshape(groups * outputs, inputs, *self.kernel)
        grouped = np.flip(matrix.reshape(groups, outputs, inputs, *self.kernel).swapaxes(1, 2), self._kernel_axes(3))
        return np.ascontiguousarray(grouped).reshape(groups * inputs, outputs, *self.kernel)

    def _kernel_axes(self, first: int) -> tuple[int, ...]:
        return tuple(range(first, first + len(self.kernel)))

    def places(self, y: Array) -> int:
        """Places of the result, over the batch."""
        y = self._channels_first(y)
        return int(y.shape[0]) * math.prod(y.shape[2:])

    def results(self, y: Array, chosen: Array) -> Array:
        """The results at the chosen places."""
        y = self._channels_first(y)
        item, *place = np.unravel_index(chosen, (y.shape[0], *y.shape[2:]))
        index: Any = (item, slice(None), *place)
        return np.asarray(y[index])

    def columns(self, x: Array, shape: Sequence[int], chosen: Array) -> Array:
        """What the kernel covers at the chosen places."""
        x = self._channels_first(x)
        spatial = tuple(shape[1:-1] if self.is_channels_last else shape[2:])
        item, *place = np.unravel_index(chosen, (x.shape[0], *spatial))
        if self.transposed:
            x = self._stuffed(x, spatial)
        else:
            pads = self._pads(x.shape[2:])
            x = np.pad(x, [(0, 0), (0, 0), *pads], mode=self.mode)  # type: ignore[call-overload]
        stride = (1,) * len(self.kernel) if self.transposed else self.stride
        reach = tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(x, reach, axis=self._kernel_axes(2))
        taps = tuple(slice(None, None, step) for step in self.dilation)
        starts = [index * step for index, step in zip(place, stride, strict=True)]
        index: Any = (item, slice(None), *starts, *taps)
        taken = windows[index]  # [places, channels, *kernel]
        grouped = taken.reshape(len(chosen), self.groups, -1)
        return np.ascontiguousarray(grouped.swapaxes(0, 1), dtype=np.float32)

    def _stuffed(self, x: Array, spatial: Sequence[int]) -> Array:
        """The input with zeros between its elements and around them, over which the flipped kernel moves one by one."""
        pads = self._pads(x.shape[2:])
        sizes = [size + (taps - 1) * step for size, taps, step in zip(spatial, self.kernel, self.dilation, strict=True)]
        stuffed = np.zeros((*x.shape[:2], *sizes), dtype=x.dtype)
        target, source = [], []
        for axis, step in enumerate(self.stride):
            first = (self.kernel[axis] - 1) * self.dilation[axis] - pads[axis][0]
            places = first + step * np.arange(x.shape[2 + axis])
            inside = (places >= 0) & (places < sizes[axis])
            target.append(places[inside])
            source.append(np.flatnonzero(inside))
        every = [np.arange(x.shape[0]), np.arange(x.shape[1])]
        stuffed[np.ix_(*every, *target)] = x[np.ix_(*every, *source)]
        return stuffed

    def _pads(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        if not isinstance(self.padding, str):
            return list(self.padding)
        found = []
        for size, taps, step in zip(sizes, self.kernel, self.stride, strict=True):
            total = max((math.ceil(size / step) - 1) * step + taps - size, 0)
            found.append((total // 2, total - total // 2))
        return found

    def _channels_first(self, x: Array) -> Array:
        return np.moveaxis(x, -1, 1) if self.is_channels_last else x


def layout_of(layer: nn.Layer) -> Layout | None:
    """The layout of a float layer, or ``None`` where it is no product of matrices that is known here."""
    known = next((base for base in (nn.Linear, *CONVOLUTIONS, *TRANSPOSED) if isinstance(layer, base)), None)
    if known is None or layer.__class__.forward is not known.forward:  # not type(layer): see `ptq.layers.gridded`
        return None
    if known is nn.Linear:
        return LinearLayout()
    transposed = isinstance(layer, TRANSPOSED)
    kernel = tuple(int(size) for size in layer.weight.shape[2:])
    dims = len(kernel)
    stride, dilation = _each(layer._stride, dims), _each(layer._dilation, dims)
    padding = _padding(layer._padding, dims, layer._data_format)
    mode = PADDING.get(layer._padding_mode if hasattr(layer, "_padding_mode") else "zeros")
    is_unclear = isinstance(padding, str) and padding != "same"
    is_unclear |= padding == "same" and (transposed or any(step > 1 for step in dilation))  # Paddle drops the dilation there
    if padding is None or mode is None or is_unclear:
        return None
    last = not layer._data_format.startswith("NC")
    return ConvolutionLayout(int(layer._groups), kernel, stride, dilation, padding, mode, transposed, last)


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return (int(value),) * dims if isinstance(value, (int, np.integer)) else tuple(int(item) for item in value)


def _padding(raw: Any, dims: int, data_format: str) -> tuple[tuple[int, int], ...] | str | None:
    """Paddle's ways to write a padding, as pairs; ``None`` for what is none of them."""
    if isinstance(raw, str):
        return ((0, 0),) * dims if raw.lower() == "valid" else raw.lower()
    if isinstance(raw, (int, np.integer)):
        return ((int(raw), int(raw)),) * dims
    items = list(raw)
    if items and all(isinstance(item, (list, tuple)) for item in items):
        inner = items[2:] if data_format.startswith("NC") else items[1:-1]
        return tuple((int(low), int(high)) for low, high in inner) if len(inner) == dims else None
    if len(items) == dims:
        return tuple((int(item), int(item)) for item in items)
    if len(items) == 1:
        return ((int(items[0]), int(items[0])),) * dims
    if len(items) == 2 * dims:
        return tuple((int(low), int(high)) for low, high in zip(items[::2], items[1::2], strict=True))
    return None
