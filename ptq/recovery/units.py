"""The weights that recoveries work on: each with the layers that use it, as matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from paddle import nn

from quantizers.grids.block_grid import SMALLEST

from ..layers import GridInput, QuantizedLayer
from .layouts import Layout, layout_of

__all__ = ["Unit", "units_of"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Unit:
    """One integer weight.

    Attributes:
        names: of the compute layers that use it, by their names in the model; they have one layout.
        layers: the float layers, in the same order.
        twins: their twins.
        tied: other twins that hold the same integers, such as an embedding.
        layout: how the weight is a matrix.
    """

    names: tuple[str, ...]
    layers: tuple[Any, ...]
    twins: tuple[Any, ...]
    tied: tuple[Any, ...]
    layout: Layout

    @property
    def name(self) -> str:
        """The name of the first layer."""
        return self.names[0]

    @property
    def bits(self) -> int:
        """Width of the integers."""
        return int(self.twins[0]._weight_bits)

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest integer.  At 8 bits the smallest is left out, as kernels like it; below, every level counts."""
        half = 2 ** (self.bits - 1)
        return (-half if self.bits < 8 else 1 - half), half - 1

    @property
    def goal(self) -> Array:
        """What the integers stand for: the float weight, times what the twin makes of it, ``[groups, outputs, inputs]``."""
        weight = self.layers[0].weight.astype("float32").numpy().astype(np.float64)
        return self.layout.matrix(weight * self.twins[0].weight_factors)

    @property
    def integers(self) -> Array:
        """The integers, ``[groups, outputs, inputs]``."""
        return self.layout.matrix(self.twins[0]._buffers["weight_quantized"].numpy().astype(np.float64))

    @property
    def scale(self) -> Array:
        """The scale of each, in the same shape."""
        twin = self.twins[0]
        shape = tuple(twin._buffers["weight_quantized"].shape)
        return self.layout.matrix(np.broadcast_to(twin._buffers["weight_scale"].numpy().astype(np.float64), shape))

    @property
    def may_rescale(self) -> bool:
        """Whether every output has a scale of its own."""
        groups, outputs = self.goal.shape[:2]
        return bool(self.twins[0]._buffers["weight_scale"].size == groups * outputs)

    def write(self, integers: Array, scale: Array) -> None:
        """Sets integers and scales, ``[groups, outputs, inputs]`` both, in all layers that share them.

        A scale is at least the smallest normal float32: that of weights which are all but zero would be flushed to it or to zero.
        """
        scale = np.maximum(scale, SMALLEST)
        weight = self.layout.weight(integers)
        stored = self.twins[0]._buffers["weight_scale"]
        if self.may_rescale:
            whole = self.layout.weight(np.broadcast_to(scale, integers.shape))
            picked = tuple(slice(0, 1) if size == 1 else slice(None) for size in stored.shape)
            found = whole[picked] if stored.ndim else whole.reshape(-1)[:1].reshape(())
        else:
            found = stored.numpy()
        self.twins[0].set_weight(weight, found)
        for twin in (*self.twins[1:], *self.tied):
            for buffer in ("weight_quantized", "weight_scale"):
                twin.register_buffer(buffer, self.twins[0]._buffers[buffer])

    @property
    def factors(self) -> Array:
        """What the twin's results are of the float layer's, ``[outputs of all groups]``, or 1."""
        return np.asarray(self.twins[0].result_factors, dtype=np.float64)


def units_of(layers: Mapping[str, nn.Layer], twins: Mapping[str, GridInput]) -> list[Unit]:
    """The weights of a converted model, in the order of its layers; those whose layer is no product of matrices are left out."""
    uses: dict[int, list[str]] = {}
    for name, twin in twins.items():
        if isinstance(twin, QuantizedLayer) and "weight_quantized" in twin._buffers and "weight" not in twin._layouts:
            uses.setdefault(id(twin._buffers["weight_quantized"]), []).append(name)
    found = []
    for names in uses.values():
        layouts = {name: layout_of(layers[name]) for name in names}
        known = [name for name in names if layouts[name] is not None]
        layout = layouts[known[0]] if known else None
        if layout is None or any(layouts[name] != layout for name in known):
            continue  # one weight in layers of different kinds: the nearest integers stay
        others = tuple(twins[name] for name in names if name not in known)
        found.append(Unit(tuple(known), tuple(layers[name] for name in known), tuple(twins[name] for name in known), others, layout))
    return found
